"""How fast training goes, and what it waits for."""

import time
from collections.abc import Callable
from functools import cache

import numpy as np

from roadcast.config import Config, StageConfig

FlopsOf = Callable[[int], float | None]


class Meter:
    """Speed between two lines of the log.

    samples_per_s, frames_per_s, tokens_per_s  of all processes; a token is one cell of one latent frame
    mfu           model FLOP utilisation: the arithmetic of the steps over what all devices could do in the time
    data_wait     share of the time that this process waited for clips
    step_seconds  mean of a step; step_p50 and step_p99 its percentiles

    Time that goes by between steps (evaluating, saving) is not counted.

    flops  of a step on clips of so many frames, or None where that is unknown
    rate   floating-point operations a second of all devices together
    """

    def __init__(self, config: Config, stage: StageConfig, flops: FlopsOf, rate: float):
        self.samples, self.flops, self.rate = stage.batch * stage.accumulate, cache(flops), rate
        stride = config.tokenizer.stride
        cells = config.data.height // stride * (config.data.width // stride)
        self.tokens_a_frame = cells / config.tokenizer.time_stride
        self._forget()

    def begin(self) -> None:
        """A step begins."""
        self.begun = time.perf_counter()

    def end(self, frames: int, waited: float) -> None:
        """A step on clips of `frames` has ended; of its time, `waited` seconds were for clips."""
        self.seconds.append(time.perf_counter() - self.begun)
        self.waited += waited
        self.frames += self.samples * frames
        self.work.append(self.flops(frames))

    def take(self) -> dict[str, float]:
        """The figures since this was last called."""
        figures = self._figures() if self.seconds else {}
        self._forget()
        return figures

    def _forget(self) -> None:
        self.seconds: list[float] = []
        self.work: list[float | None] = []
        self.frames, self.waited = 0, 0.0

    def _figures(self) -> dict[str, float]:
        total = sum(self.seconds)
        p50, p99 = np.quantile(self.seconds, (0.5, 0.99)).tolist()
        figures = {
            "step_seconds": total / len(self.seconds),
            "step_p50": p50,
            "step_p99": p99,
            "samples_per_s": self.samples * len(self.seconds) / total,
            "frames_per_s": self.frames / total,
            "tokens_per_s": self.frames * self.tokens_a_frame / total,
            "data_wait": self.waited / total,
        }
        work = [flops for flops in self.work if flops is not None]
        if len(work) == len(self.work):
            figures["mfu"] = sum(work) / total / self.rate
        return figures
