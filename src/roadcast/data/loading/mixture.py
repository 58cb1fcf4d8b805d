"""Several reels drawn from as one: who gives the next sample, and whether their pictures and rates go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from roadcast.data.reel.store import Video
from roadcast.errors import UserError

LONGEST_PERIOD = 10_000


class MixedReel(Protocol):
    """What a mixture needs to know of a reel."""

    path: Path
    videos: list[Video]
    fps: float
    height: int
    width: int


@dataclass(frozen=True)
class Turns:
    """An endless sequence of turns in which everyone has, of every beginning, their share within less than one turn.

    who_P    whose turn it is, over a period that repeats; nth_P  how many they had before in the period
    count_R  how many each has in a period
    """

    who_P: np.ndarray
    nth_P: np.ndarray
    count_R: np.ndarray

    @classmethod
    def of(cls, weights: Sequence[float]) -> "Turns":
        """Turns in proportion to `weights`, exact if that takes a period of at most 10,000, else to the nearest 1/10,000.

        Of those whose deficit is at least 1 / (2R - 2), the turn is theirs whose deficit would be first to pass
        1 - 1 / (2R - 2); no deficit or surplus ever does (Tijdeman 1980, "The chairman assignment problem").
        Raises `UserError` for a weight that is not a positive number.
        """
        count_R = _whole(weights)
        period, many = sum(count_R), len(count_R)
        unit = max(1, 2 * many - 2)
        who, nth, had = [], [], [0] * many
        for turn in range(1, period + 1):
            deficit = [unit * (turn * count - period * h) for count, h in zip(count_R, had)]
            due = [r for r in range(many) if deficit[r] >= period]
            chosen = min(due or range(many), key=lambda r: (Fraction((unit - 1) * period - deficit[r], count_R[r]), r))
            who.append(chosen)
            nth.append(had[chosen])
            had[chosen] += 1
        return cls(np.array(who), np.array(nth), np.array(count_R))

    def at(self, turn_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whose turns these are, and how many turns each of them had before."""
        cycle_N, place_N = np.divmod(turn_N, len(self.who_P))
        who_N = self.who_P[place_N]
        return who_N, cycle_N * self.count_R[who_N] + self.nth_P[place_N]


def _whole(weights: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to `weights`, or nearly so where they would add up to more than LONGEST_PERIOD."""
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"weight {weight} of a reel; give a positive number, or leave the reel out")
    exact = [Fraction(str(weight)) for weight in weights]
    total = sum(exact)
    period = math.lcm(*((weight / total).denominator for weight in exact))
    if period <= LONGEST_PERIOD:
        return [int(weight / total * period) for weight in exact]
    return [max(1, round(weight / total * LONGEST_PERIOD)) for weight in exact]


def check_sizes(reels: Sequence[MixedReel]) -> None:
    """Raise `UserError` that names two reels whose pictures differ in size."""
    first = reels[0]
    for reel in reels:
        if (reel.height, reel.width) != (first.height, first.width):
            raise UserError(
                f"{reel.path}: pictures of {reel.height}x{reel.width}, but {first.path} has {first.height}x{first.width}; "
                f"ingest it again with --height {first.height} --width {first.width}, or leave it out of the mixture"
            )


def strides_for(reels: Sequence[MixedReel], fps: float | None) -> list[int]:
    """Which of its frames each reel gives, every n-th, to be read at `fps`, or at the rate of the slowest reel.

    Raises `UserError` for a reel whose rate is no whole multiple of that.
    """
    rate = min(reel.fps for reel in reels) if fps is None else fps
    if rate <= 0:
        raise UserError(f"fps = {rate}; give a positive number")
    strides = []
    for reel in reels:
        stride = round(reel.fps / rate)
        if stride < 1 or abs(reel.fps / rate - stride) > 1e-3 * stride:
            raise UserError(
                f"{reel.path}: {reel.fps:g} frames a second are no whole multiple of the {rate:g} asked for; "
                f"ingest it again at {rate:g}, or ask for a rate that goes into every reel's"
            )
        strides.append(stride)
    return strides
