"""The gated feed-forward layer."""

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """`W_out (silu(W_a x) * W_b x)` (Shazeer 2020, eq. 6), both inner maps in one product."""

    def __init__(self, width: int, ratio: float):
        super().__init__()
        inner = 32 * round(width * ratio / 32)
        self.inner = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.inner(x).chunk(2, dim=-1)
        return self.out(F.silu(a) * b)
