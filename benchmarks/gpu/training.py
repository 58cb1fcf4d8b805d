"""A step of training the dynamics: the memory it takes and the clips it gets through, in each mode of remat."""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from benchmarks.gpu.machine import Machine, Row, attempt

from roadcast.config import Config, StageConfig
from roadcast.flow.world import World
from roadcast.objectives import build_objective
from roadcast.parallel.remat import apply_remat
from roadcast.training.ema import EMA
from roadcast.training.memory import blank_clip
from roadcast.training.optim import build_optimizers

MODES = (("block", 4, 1), ("block", 2, 2), ("selective", 4, 1), ("none", 4, 1))  # remat, clips at once, times a step


def train(machine: Machine, preset: str, frames: int = 32) -> Iterator[Row]:
    """Four clips a step, at once or in two parts, forward under bfloat16 autocast, weights and all else float32."""
    config = machine.config(preset)
    for remat, batch, accumulate in MODES:
        stage = replace(
            config.train["dynamics"], remat=remat, batch=batch, accumulate=accumulate, curriculum=(), augment={},
            clip_frames=8 if machine.micro else frames,
        )  # fmt: skip
        name: Row = {"world": preset, "remat": remat, "clips": f"{batch} x {accumulate}", "frames": stage.clip_frames}
        yield attempt(name, lambda stage=stage: measure(machine, config, stage))


@torch.enable_grad()
def measure(machine: Machine, config: Config, stage: StageConfig) -> Row:
    """The peak of whole steps, as `training/trainer.py` makes them, and their rate after the first."""
    machine.forget_peak()
    torch.manual_seed(0)
    world = World(config).to(machine.device)
    objective = build_objective(stage.objective, world, stage.options)
    apply_remat(objective.trained, stage.remat)
    model = objective.trained.train()
    optimizers, ema = build_optimizers(model, stage), EMA(model, stage.ema)
    clip, generator = (
        blank_clip(objective, stage, stage.clip_frames).to(machine.device),
        torch.Generator().manual_seed(0),
    )
    steps, taken = (1 if machine.micro else 3), []
    for _ in range(1 + steps):
        begun = time.perf_counter()
        for _ in range(stage.accumulate):
            with torch.autocast(torch.device(machine.device).type, torch.bfloat16):
                loss, _ = objective.loss(clip, generator)
            (loss / stage.accumulate).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        ema.update(model)
        machine.wait()
        taken.append(time.perf_counter() - begun)
    seconds = min(taken[1:])
    return {
        "peak_GB": machine.peak_gb(),
        "clips_per_s": stage.batch * stage.accumulate / seconds,
        "step_ms": 1e3 * seconds,
    }
