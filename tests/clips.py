"""Clips that come from no reel."""

import torch

from roadcast.data.clip import Clip
from roadcast.flow.world import World
from worlds import random_actions


def clip_for(world: World, batch: int, frames: int) -> Clip:
    """Random pixels with random commands."""
    config = world.config
    actions, known = random_actions(batch, frames, len(world.actions))
    return Clip(
        frames_BFHWC=torch.randint(
            0, 256, (batch, frames, config.data.height, config.data.width, 3), dtype=torch.uint8
        ),
        z_BTHWC=None,
        actions_BFA=actions,
        known_BFA=known,
        t_ns_BF=torch.zeros(batch, frames, dtype=torch.int64),
        video_B=torch.zeros(batch, dtype=torch.int64),
        first_B=torch.zeros(batch, dtype=torch.int64),
    )
