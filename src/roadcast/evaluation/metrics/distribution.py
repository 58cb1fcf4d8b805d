"""Distances between what a world makes and what is real, as sets of features."""

from collections.abc import Mapping
from dataclasses import dataclass

from roadcast.evaluation.metrics.feature_set import FeatureSet, Kept
from roadcast.evaluation.metrics.frechet import (
    at_infinity,
    frechet_by_count,
    frechet_distance,
    frechet_of_rows,
    frechet_spread,
    kernel_distance,
    precision_recall,
)
from roadcast.evaluation.metrics.statistics import Estimate

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


def distribution(real: Kept, made: Kept, seed: int = 0) -> Distribution:
    """What lies between two sets of features: the distance of all rows, and the rest of those that were kept."""
    whole = real.whole and made.whole
    count, kept = min(real.moments.count, made.moments.count), min(len(real.rows_KD), len(made.rows_KD))
    curve = frechet_by_count(real.rows_KD, made.rows_KD, seed)
    value = frechet_of_rows(real.rows_KD, made.rows_KD) if whole else frechet_distance(real.moments, made.moments)
    if not whole:
        curve.append((count, value))
    half = 1.96 * frechet_spread(real.rows_KD, made.rows_KD, seed) * (kept / count) ** 0.5  # as spreads of means fall
    precision, recall = precision_recall(real.rows_KD, made.rows_KD)
    return Distribution(
        count=count,
        frechet=Estimate(value, value - half, value + half),
        by_count=curve,
        at_infinity=at_infinity(curve),
        kernel=kernel_distance(real.rows_KD, made.rows_KD),
        precision=precision,
        recall=recall,
    )


def distributions(features: Mapping[str, FeatureSet], seed: int = 0) -> dict[str, Distribution]:
    """Every system's set against the real one, and for "real", which is kept in two parts, one half of it against the other."""
    real = features["real"].kept()
    found = {name: distribution(real, made.kept(), seed) for name, made in features.items() if name != "real"}
    return found | {"real": distribution(*features["real"].halves(), seed)}
