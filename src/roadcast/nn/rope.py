"""Axial rotary positions (Su et al. 2021, RoFormer, eq. 15), each axis given its own share of the head.

The K / 2 channel pairs of a head over n axes are cut into n shares, the first ones a pair larger where they do not come
out even; share a is turned by the position on axis a. Time attention passes one axis (t), space attention two (h, w), full
3D attention three (t, h, w).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """How a model reaches along its first axis `factor` times as far as it was trained (Peng et al. 2024, YaRN).

    method   "none"
             "ntk"   a larger base, `base * factor ** (d / (d - 2))` for an axis of d channels (NTK-aware, definition 1):
                     the highest frequency stays as it is, the lowest is divided by `factor`
             "yarn"  each frequency by the turns it makes within `trained` positions: from `beta` on it stays as it is, up
                     to `alpha` it is divided by `factor`, in between the two mix (NTK-by-parts, definition 2); and scores
                     are sharpened (section 3.4)
             another is a ValueError
    factor   1 is "none" exactly; less is a ValueError
    trained  positions in a training window; "yarn" must know, or it is a ValueError
    alpha    in turns. A pair that has not come round once tells distances apart by angles it has met at no other.
    beta     in turns. The paper's 32 are for thousands of words: over 32 frames our fastest pair turns five times.
    """

    method: Literal["none", "ntk", "yarn"]
    factor: float = 1.0
    trained: int = 0
    alpha: float = 1.0
    beta: float = 2.0

    def __post_init__(self) -> None:
        if self.method not in ("none", "ntk", "yarn"):
            raise ValueError(f"method of scaling {self.method!r} is unknown; choose one of none, ntk, yarn")
        if self.factor < 1:
            raise ValueError(f"factor is {self.factor}; it must be at least 1")
        if self.method == "yarn" and self.trained < 1:
            raise ValueError(f"trained is {self.trained}; yarn needs the length of the window in training, at least 1")
        if not 0 <= self.alpha < self.beta:
            raise ValueError(f"alpha is {self.alpha} and beta {self.beta}; they must rise from 0 upwards")

    def frequencies(self, pairs: int, base: float, device: torch.device) -> Tensor:
        """Radians a position of each of an axis' channel pairs, highest first, float32 [pairs]."""
        if self.method == "ntk" and pairs > 1:
            base = base * self.factor ** (pairs / (pairs - 1))
        frequency = base ** (-torch.arange(pairs, device=device, dtype=torch.float32) / pairs)
        if self.method == "yarn":
            turns = self.trained * frequency / (2 * math.pi)
            alone = ((turns - self.alpha) / (self.beta - self.alpha)).clamp(0, 1)
            frequency = torch.lerp(frequency / self.factor, frequency, alone)
        return frequency

    @property
    def magnitude(self) -> float:
        """What queries and keys are both multiplied by: `sqrt(1 / t) = 0.1 ln(factor) + 1` for yarn, else 1."""
        return 0.1 * math.log(self.factor) + 1 if self.method == "yarn" else 1.0


UNSCALED = RopeScaling("none")

Tables = tuple[Tensor, Tensor]
"""Cosines and sines [..., L, K / 2]."""


def rope_tables(positions: Tensor, head_dim: int, base: float = 100.0, scaling: RopeScaling | None = None) -> Tables:
    """Cosine and sine of every angle: `theta[l, a, i] = position[l, a] * base ** (-i / P)`, P pairs in the axis' share.

    positions  float [..., L, n], in frames or latent cells
    scaling    of the first axis' frequencies alone, which is time, the one that outgrows its training; a magnitude is of
               whole scores, and so of every axis
    returns    cos and sin, float32 [..., L, K / 2]
    The base is 100, not 10000: a driving window is tens of cells wide, not thousands of words.
    """
    axes, pairs = positions.shape[-1], head_dim // 2
    assert head_dim % 2 == 0 and pairs >= axes, f"head_dim {head_dim} has no pair of channels for each of {axes} axes"
    scaling = scaling or UNSCALED
    angles = []
    for axis, position in enumerate(positions.float().unbind(-1)):
        share = (pairs + axes - 1 - axis) // axes
        along = scaling if axis == 0 else UNSCALED
        angles.append(position[..., None] * along.frequencies(share, base, positions.device))
    angle = torch.cat(angles, dim=-1)
    return scaling.magnitude * angle.cos(), scaling.magnitude * angle.sin()


def rotate(x: Tensor, tables: Tables) -> Tensor:
    """`x` [..., L, K] with each channel pair (i, i + K / 2) turned by its angle; tables broadcast over leading axes."""
    cos, sin = (table.to(x.dtype) for table in tables)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def grid_positions(height: int, width: int, extra: int = 0, device: torch.device | None = None) -> Tensor:
    """Positions [height * width + extra, 2] of a latent grid in row-major order, then `extra` tokens at the origin."""
    h, w = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    grid = torch.stack([h, w], dim=-1).reshape(-1, 2).float()
    return torch.cat([grid, grid.new_zeros(extra, 2)])
