"""Frames that never arrived."""

import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, register_augmentation
from roadcast.data.augment.chance import Chance


@register_augmentation("drop")
class Drop(Paint):
    """A lost frame is the last one shown again, in all views; never the first. Times, actions and poses stay those of the schedule.

    So it is on a car: the command was given and the car moved, only the picture is stale.
    """

    phase = "link"
    meaning = "share of the frames"
    always = True
    limit = 0.9

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        n, frames = pixels_NFVCHW.shape[:2]
        lost = chance.uniform("lost", frames) < self.amount
        shown = np.maximum.accumulate(np.where(lost, 0, np.arange(frames)), axis=1)
        place = torch.from_numpy((shown + frames * np.arange(n)[:, None]).ravel()).to(pixels_NFVCHW.device)
        return pixels_NFVCHW.flatten(0, 1).index_select(0, place).view(pixels_NFVCHW.shape)
