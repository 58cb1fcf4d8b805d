"""Noise levels: where on the path training looks, and where sampling stops on its way down."""

import torch
from torch import Tensor


def diffusion_forcing_levels(
    batch: int, frames: int, generator: torch.Generator, clean_share: float, clean_level: float
) -> Tensor:
    """One independent level per frame (Chen et al. 2024): uniform in [0, 1], or for a share of the frames nearly clean.

    A frame is drawn from [0, clean_level] with probability `clean_share`; the share itself is drawn anew for each clip,
    uniform in [0, 2 clean_share] cut at 1, so that clips range from noise throughout to a clean past with one frame to make.

    returns  float32 [batch, frames]
    """
    u = torch.rand(batch, frames, generator=generator)
    share = (2 * clean_share * torch.rand(batch, 1, generator=generator)).clamp(max=1)
    clean = torch.rand(batch, frames, generator=generator) < share
    return torch.where(clean, clean_level * u, u)


def teacher_forcing_levels(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """A clean past and one noisy frame, the last: diffusion forcing's special case (Williams & Zipser 1989).

    returns  float32 [batch, frames]
    """
    t = torch.zeros(batch, frames)
    t[:, -1] = torch.rand(batch, generator=generator)
    return t


def drop_context(t_BT: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The levels `t_BT` [batch, frames], with a share of the frames before the last at level 1: nothing is known of them.

    Context drop-out: each frame is dropped by itself, so that the next one cannot lean on any single frame of its past.
    """
    dropped = torch.rand(t_BT.shape, generator=generator) < share
    dropped[:, -1] = False
    return t_BT.masked_fill(dropped, 1.0)


def sampling_levels(steps: int) -> list[float]:
    """`steps + 1` levels from 1 (noise) to 0 (clean), evenly spaced.

    Raises `ValueError` for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}; sampling takes at least one step")
    return [1 - i / steps for i in range(steps + 1)]
