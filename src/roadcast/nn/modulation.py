"""What tells a block how noisy a frame is and what the driver asks: Fourier features and shared adaptive norms."""

import math

import torch
from torch import Tensor, nn

from .norm import rms_norm


def fourier_features(t: Tensor, channels: int, scale: float = 1000.0) -> Tensor:
    """Sines and cosines of `t * scale` at geometric frequencies 1 .. 1e-4 (Vaswani et al. 2017, section 3.5).

    t        [...], in [0, 1]
    returns  float32 [..., channels]
    """
    frequency = torch.exp(-math.log(1e4) * torch.arange(channels // 2, device=t.device) / (channels // 2))
    angle = (t.float() * scale)[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class Modulation(nn.Module):
    """The adaptive norms of one block: one map of the condition serves all blocks, each adds its own bias.

    `norm(x) * (1 + scale) + shift` and a gate (Peebles & Xie 2023, adaLN-Zero; shared as in PixArt-alpha, Chen et al. 2023).
    """

    def __init__(self, width: int, parts: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(parts, width))

    def forward(self, shared_BTMD: Tensor) -> tuple[Tensor, ...]:
        """`parts` tensors [B, T, 1, D] that broadcast over the tokens of a frame, in the type of the shared map."""
        return (shared_BTMD + self.bias.to(shared_BTMD.dtype))[:, :, None].unbind(dim=-2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """RMS-normalised `x` [..., D], scaled and shifted."""
    return rms_norm(x) * (1 + scale) + shift
