"""What a step learns from: this process's clips on its device, each with the chance that belongs to it."""

import time
from collections.abc import Callable, Generator

import torch

from roadcast.config import GuardConfig, StageConfig
from roadcast.data.augment import Augment
from roadcast.data.clip import Clip
from roadcast.data.loading.loader import Clips
from roadcast.data.loading.prefetch import onto
from roadcast.parallel.engine import Micro
from roadcast.parallel.mesh import Mesh
from roadcast.training.course import Place
from roadcast.training.watch import watched

Taken = list[tuple[int, Clip]]
"""Micro-batches, each with its number in the order of all processes."""


class Feed:
    """The micro-batches of each step that are this process's.

    Of the endless order of micro-batches n = 0, 1, ... step s takes `accumulate` from `(s + shift) * accumulate` on, and data rank
    r of R every R-th of them from the r-th. Micro-batch n comes with a generator seeded by (seed, n). So a step is the same
    whatever the number of processes, and whether or not the run was stopped before it.
    """

    def __init__(
        self, clips: Clips, augment: Augment, stage: StageConfig, guard: GuardConfig, mesh: Mesh, *,
        seed: int, workers: int,
    ):  # fmt: skip
        self.clips, self.augment, self.stage, self.guard, self.mesh = clips, augment, stage, guard, mesh
        self.seed, self.workers = seed, workers
        self.share = stage.accumulate // mesh.data_ranks
        self.open: list[Generator[Clip]] = []
        self.waited = 0.0

    def begin(self, place: Place, report: Callable[[str], None]) -> None:
        """Read from `place` on; `report` is told of a loader that is stuck."""
        self.close()
        self.next = (place.step + place.shift) * self.share
        last = (self.stage.steps + place.shift) * self.share
        read = self.clips.batches(self.next, last, self.workers)
        seen = watched(read, self.guard.stall_seconds, self.guard.stall, report)
        self.open = [onto(self.mesh.device, seen), seen]

    def take(self) -> Taken:
        """The next step's."""
        taken = []
        for _ in range(self.share):
            begun = time.perf_counter()
            clip = next(self.open[0])
            self.waited += time.perf_counter() - begun
            taken.append((self.mesh.data_rank + self.next * self.mesh.data_ranks, self.augment(clip)))
            self.next += 1
        return taken

    def take_waited(self) -> float:
        """The seconds spent on waiting for clips since this was last asked."""
        waited, self.waited = self.waited, 0.0
        return waited

    def micros(self, taken: Taken, parts: int) -> list[Micro]:
        """What an engine takes, each clip cut into `parts` equal ones."""
        return [
            (part, torch.Generator().manual_seed((self.seed << 32) + number + (i << 48)))
            for number, clip in taken
            for i, part in enumerate(clip.chunk(parts))
        ]

    def close(self) -> None:
        """Let the readers go."""
        for reader in self.open:
            reader.close()
        self.open = []
