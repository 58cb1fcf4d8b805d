"""Objectives by name: importing this package registers those that come with roadcast."""

from roadcast.objectives import (
    consistency,
    contrastive,
    depth,
    diffusion_forcing,
    inverse_dynamics,
    jepa,
    mean_flow,
    self_context,
    self_forcing,
    shortcut,
    teacher_forcing,
    temporal,
    tokenizer,
)
from roadcast.objectives.base import Objective, build_objective, register_objective
from roadcast.objectives.losses import register_loss

__all__ = [
    "Objective", "build_objective", "consistency", "contrastive", "depth", "diffusion_forcing", "inverse_dynamics", "jepa",
    "mean_flow", "register_loss", "register_objective", "self_context", "self_forcing", "shortcut", "teacher_forcing",
    "temporal", "tokenizer",
]  # fmt: skip
