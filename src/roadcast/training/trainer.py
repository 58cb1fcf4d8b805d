"""The training loop, for every stage and every objective."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from roadcast.config import StageConfig
from roadcast.data.augment import Augment
from roadcast.data.loading.loader import Clips
from roadcast.data.loading.prefetch import onto
from roadcast.errors import UserError
from roadcast.objectives.base import Objective
from roadcast.training.checkpoint import load_state, save_state
from roadcast.training.ema import EMA
from roadcast.training.metrics import Logger
from roadcast.training.optim import build_optimizers
from roadcast.training.schedule import learning_rate

Progress = Callable[[int, int, dict[str, float]], None]


def fit(
    objective: Objective,
    stage: StageConfig,
    clips: Clips,
    folder: Path,
    *,
    augment: Augment,
    seed: int,
    workers: int,
    loggers: Callable[[int], list[Logger]],
    progress: Progress,
    validate: Callable[[], dict[str, float]],
) -> None:
    """Train `objective.trained` for `stage.steps` steps, from the newest state in `folder` on; it ends with the averaged weights.

    clips     batch number `step * accumulate + micro` of the endless order
    augment   what is done to every clip, on the model's device
    loggers   opened with the step resumed at
    validate  called every `evaluate_every` steps with the averaged weights in place

    All chance comes from generators seeded by (seed, step), so step n is the same whether or not the run was stopped
    before it. Raises `UserError` when the gradient is not finite; the states saved before it remain.
    """
    model = objective.trained
    model.train()
    [optimizer], ema, first = build_optimizers(model, stage), EMA(model, stage.ema), 0
    if (state := load_state(folder)) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        first = state["step"]

    logs, averages = loggers(first), Averages()
    device = next(model.parameters()).device
    batches = onto(device, clips.batches(first * stage.accumulate, stage.steps * stage.accumulate, workers))
    for step in range(first, stage.steps):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, stage)
        optimizer.zero_grad(set_to_none=True)
        for micro in range(stage.accumulate):
            clip = augment(next(batches))
            chance = torch.Generator().manual_seed((seed << 32) + step * stage.accumulate + micro)
            loss, terms = objective.loss(clip, chance)
            (loss / stage.accumulate).backward()
            averages.add({"loss": loss} | terms)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
        if not torch.isfinite(norm):
            raise UserError(
                f"{folder}: the gradient is {norm.item()} at step {step}, on clips that begin at frames {clip.first_B.tolist()}; "
                "look at them, or lower the stage's lr and begin it anew; the states saved before are as they were"
            )
        optimizer.step()
        ema.update(model)
        averages.add({"grad_norm": norm, "step_seconds": torch.tensor(time.perf_counter() - started)})

        done = step + 1
        progress(done, stage.steps, averages.latest)
        if done % stage.log_every == 0 or done == stage.steps:
            row = averages.take() | {"lr": learning_rate(step, stage)}
            for logger in logs:
                logger.log(done, row)
        if done % stage.save_every == 0 or done == stage.steps:
            parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.state_dict()}
            save_state(folder, done, parts, stage.keep)
        if done % stage.evaluate_every == 0 or done == stage.steps:
            model.eval()
            with ema.swapped_into(model), torch.no_grad():
                values = validate()
            model.train()
            for logger in logs:
                logger.log(done, values)

    for logger in logs:
        logger.close()
    model.load_state_dict(ema.average)
    model.eval()


class Averages:
    """Running means of named scalars between two lines of the log."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.rows.setdefault(name, []).append(float(value.detach()))

    @property
    def latest(self) -> dict[str, float]:
        return {name: row[-1] for name, row in self.rows.items() if row}

    def take(self) -> dict[str, float]:
        means = {name: sum(row) / len(row) for name, row in self.rows.items()}
        self.rows = {}
        return means
