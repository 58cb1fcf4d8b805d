"""What is kept of features that come clip by clip, in memory that does not grow with their number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.evaluation.metrics.frechet import Moments

KEPT = 4096
"""Rows of a set that are kept: what compares every row with every other, or draws rows anew, does it with these."""


@dataclass(frozen=True)
class Kept:
    """Moments of all rows of a set, and `rows_KD`, all of them or a uniform sample."""

    moments: Moments
    rows_KD: np.ndarray

    @classmethod
    def of(cls, parts: "Sequence[Reservoir]") -> "Kept":
        """Of several parts together, which got as many rows each, but for a clip's."""
        moments = sum((part.moments for part in parts[1:]), parts[0].moments)
        return cls(moments, np.concatenate([part.rows_KD[: part.moments.count] for part in parts]))

    @property
    def whole(self) -> bool:
        """Whether all rows are here."""
        return len(self.rows_KD) == self.moments.count


class Reservoir:
    """A stream of rows: their moments, and a uniform sample of at most `most` (Vitter 1985, "Random Sampling with a Reservoir",
    algorithm R).

    The first rows fill it. Row number t from 0 on then takes place `floor(u (t + 1))`, u uniform in [0, 1), or is passed over where
    there is no such place. What is kept depends on the seed and on the rows, not on the pieces they come in.
    """

    def __init__(self, width: int, most: int, seed: int):
        self.moments = Moments.none(width)
        self.rows_KD = np.zeros((most, width), np.float32)
        self.rng = np.random.default_rng(seed)

    def add(self, rows_ND: np.ndarray) -> None:
        """Take in some rows, or none."""
        if not len(rows_ND):
            return
        numbers = self.moments.count + np.arange(len(rows_ND))
        places = np.where(
            numbers < len(self.rows_KD), numbers, (self.rng.random(len(rows_ND)) * (numbers + 1)).astype(int)
        )
        stay = places < len(self.rows_KD)
        self.rows_KD[places[stay]] = rows_ND[
            stay
        ]  # where several have one place the last has it, as if they came one by one
        self.moments = self.moments + Moments.of(rows_ND)


class FeatureSet:
    """Features of a system's clips. With two parts clips take turns between them, so that one half can be held against the other."""

    def __init__(self, parts: int = 1, seed: int = 0, most: int = KEPT):
        self.count, self.seed, self.most = parts, seed, most // parts
        self.parts: list[Reservoir] = []  # made when the first rows tell their width
        self.clips = 0

    @classmethod
    def of(cls, rows_ND: np.ndarray, parts: int = 1, seed: int = 0) -> "FeatureSet":
        """Of clips of one row each."""
        self = cls(parts, seed)
        self.add(rows_ND, clips=len(rows_ND))
        return self

    def add(self, rows_ND: np.ndarray, clips: int) -> None:
        """Take in the rows of so many clips, of each as many, one clip's after the other's."""
        width = rows_ND.shape[1]
        self.parts = self.parts or [Reservoir(width, self.most, self.seed + n) for n in range(self.count)]
        by_clip = rows_ND.reshape(clips, -1, width)
        for number, part in enumerate(self.parts):
            part.add(by_clip[(number - self.clips) % self.count :: self.count].reshape(-1, width))
        self.clips += clips

    def kept(self) -> Kept:
        """Of all clips."""
        return Kept.of(self.parts)

    def halves(self) -> tuple[Kept, Kept]:
        """Of every other clip, and of those between; of a set of two parts."""
        first, second = self.parts
        return Kept.of([first]), Kept.of([second])
