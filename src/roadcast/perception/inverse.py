"""Which controls moved the picture: inverse dynamics, read back from frames alone."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import InverseConfig
from roadcast.data.actions import ACTIONS

GRID = (4, 8)
"""Cells, down and across, that a pair of frames is told apart by: where a picture moves says as much as how far."""


class InverseDynamics(nn.Module):
    """`a_f = g(h(x_{f-p-1}, x_{f-p}), ..., h(x_{f+q-1}, x_{f+q}))`: the controls at frame f from p pairs of frames before and q after.

    The inverse model of Baker et al. 2022 (Video PreTraining, section 3), which looks past the command that it names: real
    cars answer after 150 to 200 ms. h is a convolutional network of neighbouring frames, each pair brought to mean 0 and
    deviation 1, so that a paler or duller video is read alike; g is one convolution in time. What the answer rests on is no more
    than p + q + 2 frames, and on no command: it cannot continue a habit, only see motion.
    """

    scale_A: Tensor

    def __init__(self, config: InverseConfig, actions: tuple[str, ...]):
        super().__init__()
        self.past, self.ahead, self.actions = config.past, config.ahead, actions
        width = config.width
        self.pair = nn.Sequential(
            Conv(6, width, 5), Conv(width, width), Conv(width, 2 * width), Conv(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(GRID), nn.Conv2d(2 * width, 16, 1), nn.Flatten(), nn.Linear(16 * GRID[0] * GRID[1], 4 * width),
        )  # fmt: skip
        self.window = nn.Conv1d(4 * width, 4 * width, self.past + 1 + self.ahead)
        self.answer = nn.Conv1d(4 * width, len(actions), 1)
        self.register_buffer("scale_A", torch.tensor([ACTIONS[name].scale for name in actions]), persistent=False)

    def told(self, frames: int) -> slice:
        """Which of so many frames' commands can be told: those with the whole window in sight."""
        return slice(self.past + 1, max(self.past + 1, frames - self.ahead))

    def forward(self, frames_BFHWC: Tensor) -> Tensor:
        """Controls over their typical size (data/actions.py), float [B, K, A], of the K frames `told` among uint8 RGB frames."""
        batch = len(frames_BFHWC)
        x = frames_BFHWC.float()
        pairs = rearrange(torch.stack([x[:, :-1], x[:, 1:]], dim=-2), "b f h w n c -> (b f) (n c) h w")
        deviation, mean = torch.std_mean(pairs, dim=(1, 2, 3), keepdim=True)
        seen = rearrange(self.pair((pairs - mean) / (deviation + 1)), "(b f) d -> b d f", b=batch)
        return rearrange(self.answer(F.silu(self.window(F.silu(seen)))), "b a k -> b k a")

    @torch.no_grad()
    def read(self, frames_BFHWC: Tensor) -> Tensor:
        """The controls in their units, float32 [B, K, A] on the CPU, of the frames `told`."""
        return (self(frames_BFHWC.to(self.scale_A.device)) * self.scale_A).cpu()


class Conv(nn.Sequential):
    """A convolution of stride 2 that keeps even sizes even, group normalisation, SiLU."""

    def __init__(self, inside: int, outside: int, kernel: int = 3):
        super().__init__(
            nn.Conv2d(inside, outside, kernel, stride=2, padding=kernel // 2),
            nn.GroupNorm(min(4, outside), outside),
            nn.SiLU(),
        )
