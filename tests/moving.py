"""Clips whose squares move, and worlds with a small encoder of features to look at them."""

import torch

from roadcast.config import Config
from roadcast.data.clip import Clip
from worlds import micro_config


def features_config(**changes) -> Config:
    return micro_config(**{
        "features__depth": 1, "features__width": 24, "features__heads": 2, "features__patch": 8, **changes,
    })  # fmt: skip


def moving(batch: int = 4, frames: int = 4, seed: int = 0) -> Clip:
    """Bright squares on a dark ground, each clip's at its own place, moving by its own speed."""
    chance = torch.Generator().manual_seed(seed)
    place, speed = (torch.rand(batch, 1, generator=chance) * high for high in (40, 4))
    left_BF = place + speed * torch.arange(frames)
    x = torch.arange(64)
    inside_BFW = (left_BF[..., None] <= x) & (x < left_BF[..., None] + 20)
    frames_BFHWC = (200 * inside_BFW + 20).to(torch.uint8)[:, :, None, :, None].repeat(1, 1, 32, 1, 3)
    zeros = torch.zeros(batch, dtype=torch.int64)
    return Clip(
        frames_BFHWC=frames_BFHWC, z_BTHWC=None, actions_BFA=torch.zeros(batch, frames, 2),
        known_BFA=torch.zeros(batch, frames, 2, dtype=torch.bool), t_ns_BF=torch.zeros(batch, frames, dtype=torch.int64),
        video_B=zeros, first_B=zeros,
    )  # fmt: skip
