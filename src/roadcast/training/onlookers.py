"""All that looks on while a stage is trained, and changes nothing: speed, memory, gradients, traces, hooks, the log, the terminal."""

import math
from collections.abc import Callable
from pathlib import Path

import torch

from roadcast.config import Config, StageConfig
from roadcast.parallel.mesh import Mesh
from roadcast.parallel.reduce import local
from roadcast.training.course import Course
from roadcast.training.flops import measured_rate, step_flops
from roadcast.training.gradients import statistics
from roadcast.training.hooks import Hooks
from roadcast.training.memory import size_of
from roadcast.training.meter import Meter
from roadcast.training.metrics import Log
from roadcast.training.monitor import MemoryMonitor
from roadcast.training.state import TrainingState
from roadcast.training.trace import Trace

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (steps done, steps in all, latest figures)."""


class Onlookers:
    """They are told before and after each step. `hooks` are called by the loop itself where an evaluation or a save is done."""

    def __init__(
        self, config: Config, stage: StageConfig, mesh: Mesh, dtype: torch.dtype, state: TrainingState, course: Course,
        folder: Path, log: Log, progress: Progress,
    ):  # fmt: skip
        compute = config.compute
        rate = mesh.ranks * measured_rate(mesh.device, dtype)
        self.stage, self.mesh, self.model, self.course, self.log = stage, mesh, state.model, course, log
        self.progress = progress
        self.hooks = Hooks(compute.hooks, folder, folder.name, log.log)
        self.meter = Meter(config, stage, lambda frames: step_flops(config, stage, frames), rate)
        self.memory = MemoryMonitor(mesh.device, compute.memory_gb, lambda: component_bytes(state))
        self.trace = Trace(compute.profile, folder / f"trace-{mesh.rank}.json.gz")

    def logs(self, step: int) -> bool:
        """Whether a line of the log is due after `step` steps."""
        return step % self.stage.log_every == 0 or step == self.stage.steps

    def before(self, step: int) -> None:
        """Step number `step`, from 1, is about to begin."""
        self.trace.before(step)
        self.meter.begin()

    def gradients(self, step: int) -> dict[str, float]:
        """What the gradients of step number `step` say of each block, where a line of the log will tell; before they are scaled."""
        if not self.logs(step):
            return {}
        parts = self.mesh.gather(statistics(self.model, self.course.scaler.get_scale()))
        return {name: value for part in parts for name, value in part.items() if math.isfinite(value)}

    def after(
        self, step: int, terms: dict[str, float], blocks: dict[str, float], rate: float, frames: int, waited: float
    ) -> None:
        """`step` steps are done, the last with these terms, on clips of `frames`, after waiting for them for `waited` seconds."""
        self.meter.end(frames, waited)
        self.memory.look(step, self.log)
        if self.trace.after(step):
            self.log.event(step, "profile", f"the steps up to {step} are traced in {self.trace.path.name}")
        self.hooks.step(step, terms)
        latest = {"step_seconds": self.meter.seconds[-1], "memory_share": self.memory.share()}
        self.progress(step, self.stage.steps, terms | latest)
        if self.logs(step):
            row = self.course.averages.take() | {"lr": rate} | self.meter.take()
            self.log.log(step, row | self.memory.figures() | self.course.counts() | blocks)


def component_bytes(state: TrainingState) -> dict[str, int]:
    """Bytes of what a stage keeps, on this process."""
    tensors = state.tensors()
    return {
        "weights": size_of([local(x) for x in tensors["model"].values()]),
        "gradients": size_of([local(p.grad) for p in state.model.parameters() if p.grad is not None]),
        "moments": size_of([local(x) for slots in tensors.get("optimizer", {}).values() for x in slots.values()]),
        "average": size_of([local(x) for x in tensors["ema"].values()]),
    }
