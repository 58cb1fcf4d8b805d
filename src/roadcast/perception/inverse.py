"""Which controls moved the picture: inverse dynamics, read back from frames alone."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import InverseConfig
from roadcast.data.actions import ACTIONS

SIZE = (64, 128)
"""Height and width that pictures are brought to."""
SHIFTS = [(y, x) for y in (-2, 0, 2) for x in range(-6, 7)]
"""Pixels of SIZE, down and across, that a place is looked for at in the next picture."""
DOWN, ACROSS = (max(shift[axis] for shift in SHIFTS) for axis in (0, 1))
"""The longest of SHIFTS."""
CELL = 8
"""Pixels of SIZE across a place that is looked for; places overlap by half."""
AT_ONCE = 32
"""Pairs of frames that are compared at a time: a megabyte, which stays in the processor's cache."""


class InverseDynamics(nn.Module):
    """`a_f = g(m_{f-p}, ..., m_{f+q})`: the controls at frame f from how the picture moved into p frames before and q frames after.

    The inverse model of Baker et al. 2022 (Video PreTraining, section 3), which looks past the command that it names: real cars
    answer after 150 to 200 ms. It is shown no picture, but how well each place of one frame matches places of the next
    (`mismatches`), so that it can know no road by heart, and reads an imagined picture, paler or softer, as it reads a real one.
    What it says rests on p + q + 2 frames, and on no command: it cannot continue a habit, only see motion.
    """

    scale_A: Tensor

    def __init__(self, config: InverseConfig, actions: tuple[str, ...]):
        super().__init__()
        self.past, self.ahead, self.actions = config.past, config.ahead, actions
        width = config.width
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.motion = nn.Sequential(
            nn.Conv2d(len(SHIFTS), width, 1), nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(width * (SIZE[0] // 16) * (SIZE[1] // 16), 4 * width), nn.SiLU(),
        )  # fmt: skip
        self.window = nn.Sequential(
            nn.Conv1d(4 * width, 4 * width, self.past + 1 + self.ahead), nn.SiLU(), nn.Conv1d(4 * width, len(actions), 1),
        )  # fmt: skip
        self.register_buffer("scale_A", torch.tensor([ACTIONS[name].scale for name in actions]), persistent=False)

    def told(self, frames: int) -> slice:
        """Which of so many frames' commands can be told: those with the whole window in sight."""
        return slice(self.past + 1, max(self.past + 1, frames - self.ahead))

    def forward(self, frames_BFHWC: Tensor) -> Tensor:
        """Controls over their typical size (data/actions.py), float [B, K, A], of the K frames `told` among uint8 RGB frames."""
        batch = len(frames_BFHWC)
        missed = mismatches(frames_BFHWC)
        found = torch.softmax(-self.sharpness.exp() * missed, dim=1)
        moved = rearrange(self.motion(found), "(b f) d -> b d f", b=batch)
        return rearrange(self.window(moved), "b a k -> b k a")

    @torch.no_grad()
    def read(self, frames_BFHWC: Tensor) -> Tensor:
        """The controls in their units, float32 [B, K, A] on the CPU, of the frames `told`."""
        return (self(frames_BFHWC.to(self.scale_A.device)) * self.scale_A).cpu()


@torch.no_grad()
def mismatches(frames_BFHWC: Tensor) -> Tensor:
    """For each place and shift `mean |x_{f+1}(place + shift) - x_f(place)|` over CELL x CELL pixels: [B * (F - 1), shift, H / 4, W / 4].

    A matching cost (Fischer et al. 2015, FlowNet, section 3: of features; here of grey, each frame brought to mean 0 and deviation 1).
    """
    grey = rearrange(frames_BFHWC.float().mean(dim=-1), "b f h w -> (b f) 1 h w")
    if tuple(grey.shape[-2:]) != SIZE:
        grey = F.interpolate(grey, SIZE, mode="bilinear", antialias=True)
    deviation, mean = torch.std_mean(grey, dim=(1, 2, 3), keepdim=True)
    x = rearrange((grey - mean) / (deviation + 1), "(b f) 1 h w -> b f h w", b=len(frames_BFHWC))
    before, after = (rearrange(part, "b f h w -> (b f) 1 h w") for part in (x[:, :-1], x[:, 1:]))
    after = F.pad(after, (ACROSS, ACROSS, DOWN, DOWN), mode="replicate")
    return torch.cat([_costs(*pair) for pair in zip(before.split(AT_ONCE), after.split(AT_ONCE), strict=True)])


def _costs(before_N1HW: Tensor, after_N1HW: Tensor) -> Tensor:
    """`mismatches` of pairs of frames, the later ones with a margin as wide as the shifts."""
    (height, width), costs, miss = SIZE, [], torch.empty_like(before_N1HW)
    for y, z in SHIFTS:
        moved = after_N1HW[..., DOWN + y : DOWN + y + height, ACROSS + z : ACROSS + z + width]
        costs.append(F.avg_pool2d(torch.sub(moved, before_N1HW, out=miss).abs_(), CELL, CELL // 2, padding=CELL // 4))
    return torch.cat(costs, dim=1)
