"""How much arithmetic a step of training is."""

from dataclasses import replace
from functools import cache

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from roadcast.config import Config, StageConfig
from roadcast.flow.world import World
from roadcast.objectives import build_objective
from roadcast.parallel.precision import measure_matmul
from roadcast.parallel.remat import apply_remat
from roadcast.training.memory import NEEDS_NUMBERS, blank_clip

measured_rate = cache(measure_matmul)
"""Most floating-point operations a second that square products reach on a device in a format; measured once a process."""


def step_flops(config: Config, stage: StageConfig, frames: int, *, again: bool = False) -> float | None:
    """Floating-point operations of one step of all processes together, on clips of `frames`: products, convolutions and attention.

    again  count what is computed a second time to save memory; without it forwards and backwards count once, as model FLOP
           utilisation has it (Chowdhery et al. 2022, PaLM, appendix B)

    Counted on tensors without numbers; None for a stage that works by them (options adversarial and lpips, some plug-ins).
    """
    if any(stage.options.get(option) for option in NEEDS_NUMBERS):
        return None
    try:
        with FakeTensorMode(), torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
            objective = build_objective(stage.objective, World(replace(config, start="")), stage.options, stage.losses)
            apply_remat(objective.trained.train(), stage.remat if again else "none")
            loss, _ = objective.loss(blank_clip(objective, stage, frames), torch.Generator().manual_seed(0))
            loss.backward()
    except (DataDependentOutputException, DynamicOutputShapeException):
        return None
    return float(stage.accumulate * counter.get_total_flops())
