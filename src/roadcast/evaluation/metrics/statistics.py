"""Means with intervals, rank correlation and paired tests over clips, in numpy alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

BOOTSTRAP_DRAWS = 2000
PERMUTATION_DRAWS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; each a float, or one list entry a horizon frame."""

    mean: float | list
    low: float | list
    high: float | list


@cache
def resample(clips: int, seed: int = 0) -> np.ndarray:
    """Bootstrap weights [BOOTSTRAP_DRAWS, clips]: the share each clip has in each draw with replacement.

    Clips are the unit of resampling. Clips of one recording resemble each other, so with few recordings the
    intervals speak of these recordings and not of driving at large.
    """
    draws = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1.0 / clips), size=BOOTSTRAP_DRAWS)
    return draws / clips


def mean_estimate(values_N: np.ndarray, seed: int = 0) -> Estimate:
    """Mean over the first axis with its 95 % percentile bootstrap interval (Efron 1979); further axes are kept."""
    values = np.asarray(values_N, dtype=np.float64)
    drawn = np.tensordot(resample(len(values), seed), values, axes=1)
    return _estimate(values.mean(axis=0), drawn)


def ratio_estimate(upper_N: np.ndarray, lower_N: np.ndarray, seed: int = 0) -> Estimate:
    """mean(upper) / mean(lower) over the first axis with its 95 % bootstrap interval, clips drawn in pairs."""
    upper, lower = np.asarray(upper_N, dtype=np.float64), np.asarray(lower_N, dtype=np.float64)
    weights, tiny = resample(len(upper), seed), 1e-9
    drawn = (np.tensordot(weights, upper, axes=1) + tiny) / (np.tensordot(weights, lower, axes=1) + tiny)
    return _estimate((upper.mean(axis=0) + tiny) / (lower.mean(axis=0) + tiny), drawn)


def correlation_estimate(
    x_NF: np.ndarray, y_NF: np.ndarray, known_NF: np.ndarray | None = None, seed: int = 0
) -> Estimate | None:
    """Pearson correlation over all known values, with its 95 % bootstrap interval over the N rows; None when one is constant."""
    (x, y), known = _centred((x_NF, y_NF), known_NF)
    if min(np.square(x).sum(), np.square(y).sum()) < 1e-12 * max(known.sum(), 1):
        return None

    def correlation(moments: np.ndarray) -> np.ndarray:
        n, *sums = np.moveaxis(moments, -1, 0)
        mx, my, xx, yy, xy = (total / np.maximum(n, 1e-9) for total in sums)
        spread = np.sqrt(np.maximum(xx - mx * mx, 0) * np.maximum(yy - my * my, 0))
        return np.divide(xy - mx * my, spread, out=np.zeros_like(spread), where=spread > 1e-12)

    return _of_sums(correlation, [known, x, y, x * x, y * y, x * y], seed)


def determination_estimate(
    told_NF: np.ndarray, true_NF: np.ndarray, known_NF: np.ndarray | None = None, seed: int = 0
) -> Estimate | None:
    """`R^2 = 1 - sum (told - true)^2 / sum (true - mean true)^2` over all known values, with its 95 % bootstrap interval over rows.

    1 where all is told, 0 where the mean alone would tell as much, below 0 where it would tell more. None when the truth is constant.
    """
    (true,), known = _centred((true_NF,), known_NF)
    error = np.where(known > 0, told_NF, 0.0) - np.where(known > 0, true_NF, 0.0)
    if np.square(true).sum() < 1e-12 * max(known.sum(), 1):
        return None

    def determination(moments: np.ndarray) -> np.ndarray:
        n, y, yy, ee = np.moveaxis(moments, -1, 0)
        return 1 - ee / np.maximum(yy - y * y / np.maximum(n, 1e-9), 1e-12)

    return _of_sums(determination, [known, true, true * true, error * error], seed)


def effect_size(difference_N: np.ndarray) -> float:
    """Cohen's d_z of paired differences, mean / standard deviation (Cohen 1988, eq. 2.3.5).

    The deviation is taken as at least 0.001, which is finer than optical flow resolves in pixels.
    """
    return float(difference_N.mean() / max(difference_N.std(ddof=1), 1e-3))


def effect_size_estimate(difference_N: np.ndarray, seed: int = 0) -> Estimate:
    """`effect_size` with its 95 % bootstrap interval."""
    n, weights = len(difference_N), resample(len(difference_N), seed)
    mean = weights @ difference_N
    variance = np.maximum(weights @ difference_N**2 - mean**2, 0) * n / (n - 1)
    return _estimate(np.asarray(effect_size(difference_N)), mean / np.maximum(np.sqrt(variance), 1e-3))


def sign_flip_p(difference_N: np.ndarray, seed: int = 0) -> float:
    """One-sided p-value that the mean paired difference is above zero, by sign flipping (Fisher 1935).

    Exact over all 2^N sign patterns when they are at most 20,000, else (1 + hits) / (1 + 20,000) random draws
    (Phipson and Smyth 2010).
    """
    n = len(difference_N)
    observed = difference_N.mean() - 1e-12
    exact = 2**n <= PERMUTATION_DRAWS
    if exact:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(seed).integers(0, 2, size=(PERMUTATION_DRAWS, n)) * 2 - 1
    hits = int((signs @ difference_N / n >= observed).sum())
    return hits / len(signs) if exact else (1 + hits) / (1 + len(signs))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their average rank; 0 when one of the two is constant."""
    a, b = _ranks(np.ravel(x)), _ranks(np.ravel(y))
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread > 0 else 0.0


def _ranks(x: np.ndarray) -> np.ndarray:
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[group]


def _centred(values: Sequence[np.ndarray], known_NF: np.ndarray | None) -> tuple[list[np.ndarray], np.ndarray]:
    """Each array less its mean where known, 0 where not, float64; and where known, as 1 and 0."""
    known = np.ones(np.shape(values[0])) if known_NF is None else np.asarray(known_NF, dtype=np.float64)
    filled = [np.where(known > 0, x, 0.0).astype(np.float64) for x in values]
    return [known * (x - x.sum() / max(known.sum(), 1)) for x in filled], known


def _of_sums(function: Callable[[np.ndarray], np.ndarray], terms: Sequence[np.ndarray], seed: int) -> Estimate:
    """A function of the sums of `terms`, arrays [N, F], with its bootstrap interval over rows."""
    sums = np.stack(terms, axis=-1).sum(axis=1)
    return _estimate(function(sums.sum(axis=0)[None])[0], function(len(sums) * resample(len(sums), seed) @ sums))


def _estimate(value: np.ndarray, drawn: np.ndarray) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return Estimate(np.asarray(value).tolist(), low.tolist(), high.tolist())
