"""How far a variant is from the base, over seeds, and whether that can be told.

What varies between two runs of one variant is the seed: weights, the order of clips, and noise. The clips that a run is judged by are
the same for all. So the seed is the unit, and a variant is held against the base of the same seed, as the two share much of their luck:

    d_s = score(variant, s) - score(base, s),    mean d +- t(0.975, S - 1) sd(d) / sqrt(S)          Student 1908

A bootstrap over three seeds has ten different samples, and an interval far too narrow. Student's is exact for normal differences, and
pays for few seeds by its width: t is 12.7 for two, 4.30 for three, 2.78 for five. What is unclear here may yet be there, and of twenty
intervals about one leaves out zero by chance alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.errors import UserError
from roadcast.evaluation.compare import settled, shortened
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.overlay import first_difference
from roadcast.research.score import better
from roadcast.research.store import Row

T975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
"""Student's t, two-sided 95 %, by degrees of freedom from 1."""
Z975 = 1.959964


@dataclass(frozen=True)
class Difference:
    """Variant less base in one score: the mean over `seeds` seeds, its interval (without ends for one seed), and what it says:
    better, worse or unclear."""

    change: Estimate
    seeds: int
    verdict: str

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.change.high - self.change.low) / 2


def difference(base: Sequence[Row], variant: Sequence[Row], score: str) -> Difference | None:
    """The difference over the seeds of which both have the score; None where there are none.

    Raises `UserError` where the two were measured by different protocols, with the field that differs.
    """
    by_seed = {row.seed: row for row in base}
    pairs = [(by_seed[row.seed], row) for row in variant if row.seed in by_seed]
    for ours, theirs in pairs[:1]:
        if (differs := first_difference(settled(ours.protocol), settled(theirs.protocol))) is not None:
            raise UserError(
                f"{ours.name} and {theirs.name} were measured by different protocols: {shortened(differs)}; "
                "such scores have no order: leave the variant out, or measure both alike"
            )
    values = [d for ours, theirs in pairs if math.isfinite(d := theirs.value(score) - ours.value(score))]
    if not values:
        return None
    change = t_interval(np.array(values))
    return Difference(change, len(values), verdict(score, change))


def t_interval(values_S: np.ndarray) -> Estimate:
    """The mean with Student's 95 % interval, infinitely wide for one value."""
    seeds, mean = len(values_S), float(values_S.mean())
    reach = t975(seeds - 1) * float(values_S.std(ddof=1)) / seeds**0.5 if seeds > 1 else math.inf
    return Estimate(mean, mean - reach, mean + reach)


def t975(freedom: int) -> float:
    """The 97.5 % point of Student's t; beyond the table by its expansion about the normal's (Abramowitz & Stegun 1964, 26.7.5)."""
    if freedom <= len(T975):
        return T975[freedom - 1]
    z, n = Z975, freedom
    return z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2) + (
        3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    ) / (384 * n**3)  # fmt: skip


def verdict(score: str, change: Estimate) -> str:
    """better or worse where the interval leaves out zero and the score has a direction; unclear otherwise."""
    if not (change.low > 0 or change.high < 0) or better(score) not in ("higher", "lower"):
        return "unclear"
    return "better" if (change.mean > 0) == (better(score) == "higher") else "worse"
