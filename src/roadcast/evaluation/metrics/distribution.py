"""Distances between what a world makes and what is real, as sets of features."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from roadcast.evaluation.metrics.frechet import (
    frechet_by_count,
    frechet_of_rows,
    frechet_spread,
    kernel_distance,
    precision_recall,
)
from roadcast.evaluation.metrics.statistics import Estimate

MOST_FOR_PAIRS = 4096
"""Rows of a set that kernel distance, precision and recall are taken over at most: they compare every one with every other."""
NOTE = (
    "Of few samples a Frechet distance is nearly all bias: it falls with their number, and only values of one number compare. "
    "The row of real video is half of the real clips against the other half."
)


@dataclass(frozen=True)
class Distribution:
    """One system's set against the real one.

    count        rows of each set
    frechet      the distance, with 1.96 standard deviations of its bootstrap draws on both sides
    by_count     the distance of growing parts, (rows, value) each; at_infinity: where they tend to
    kernel       kernel distance;  precision, recall: shares
    """

    count: int
    frechet: Estimate
    by_count: list[tuple[int, float]]
    at_infinity: float
    kernel: float
    precision: float
    recall: float


def distribution(real_ND: np.ndarray, made_MD: np.ndarray, seed: int = 0) -> Distribution:
    """What lies between two sets of features."""
    value = frechet_of_rows(real_ND, made_MD)
    half = 1.96 * frechet_spread(real_ND, made_MD, seed)
    curve, limit = frechet_by_count(real_ND, made_MD, seed)
    real, made = (thinned(x, seed) for x in (real_ND, made_MD))
    precision, recall = precision_recall(real, made)
    count = min(len(real_ND), len(made_MD))
    return Distribution(
        count, Estimate(value, value - half, value + half), curve, limit, kernel_distance(real, made), precision, recall
    )


def distributions(features: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Distribution]:
    """Every system's set against the real one, and for "real" one half of it against the other."""
    real = features["real"]
    found = {name: distribution(real, made, seed) for name, made in features.items() if name != "real"}
    return found | {"real": distribution(real[::2], real[1::2], seed)}


def thinned(x_ND: np.ndarray, seed: int) -> np.ndarray:
    """MOST_FOR_PAIRS rows, drawn without replacement, or all where there are no more."""
    if len(x_ND) <= MOST_FOR_PAIRS:
        return x_ND
    return x_ND[np.random.default_rng(seed).choice(len(x_ND), MOST_FOR_PAIRS, replace=False)]
