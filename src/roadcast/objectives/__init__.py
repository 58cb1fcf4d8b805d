"""Objectives by name: importing this package registers those that come with roadcast."""

from roadcast.objectives import (
    contrastive,
    depth,
    diffusion_forcing,
    inverse_dynamics,
    jepa,
    teacher_forcing,
    tokenizer,
)
from roadcast.objectives.base import Objective, build_objective, register_objective
from roadcast.objectives.losses import register_loss

__all__ = [
    "Objective", "build_objective", "contrastive", "depth", "diffusion_forcing", "inverse_dynamics", "jepa", "register_loss",
    "register_objective", "teacher_forcing", "tokenizer",
]  # fmt: skip
