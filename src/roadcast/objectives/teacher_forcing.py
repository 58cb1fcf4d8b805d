"""Train the dynamics on the next frame after a true, clean past: diffusion forcing's special case."""

from typing import ClassVar

import torch
from torch import Tensor

from roadcast.flow.timesteps import teacher_forcing_levels
from roadcast.objectives.base import register_objective
from roadcast.objectives.diffusion_forcing import DiffusionForcing


@register_objective("teacher_forcing")
class TeacherForcing(DiffusionForcing):
    """The loss of diffusion forcing on the last frame alone, all frames before it clean (Williams & Zipser 1989)."""

    defaults: ClassVar[dict[str, float]] = {"difference": 0.2, "ramp": 0.9, "context_dropout": 0.0}

    def levels(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        return teacher_forcing_levels(batch, frames, generator)

    def weight(self, t_BT: Tensor) -> Tensor:
        last = torch.zeros_like(t_BT)
        last[:, -1] = t_BT.shape[1]
        return last * super().weight(t_BT)
