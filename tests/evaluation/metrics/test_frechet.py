"""Distances of sets against other people's formulas, and against what is known."""

import numpy as np
import pytest
import scipy.linalg

from roadcast.evaluation.metrics.frechet import (
    Moments,
    at_infinity,
    frechet_by_count,
    frechet_distance,
    frechet_of_rows,
    frechet_spread,
    kernel_distance,
    precision_recall,
)


def features(count: int, width: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(width, width)) / width**0.5
    return (scale * rng.normal(size=(count, width)) @ mixing + shift).astype(np.float32)


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as Heusel et al. write it, with scipy's square root of a matrix that is not symmetric."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False))
    apart = a.mean(0) - b.mean(0)
    return float(
        apart @ apart + np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False)) - 2 * np.trace(root).real
    )


@pytest.mark.parametrize(("count", "width"), [(400, 16), (2048, 100)])
def test_it_is_the_distance_of_the_formula(count, width):
    a, b = features(count, width, 0), features(count // 2, width, 1, 1.3, 0.2)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(by_scipy(a, b), rel=1e-8)


def test_of_fewer_samples_than_features_it_is_still_a_distance():
    a, b = features(20, 64, 0), features(30, 64, 1)
    assert frechet_distance(Moments.of(a), Moments.of(a)) == pytest.approx(0, abs=1e-9)
    assert frechet_of_rows(a, b) == pytest.approx(frechet_distance(Moments.of(a), Moments.of(b)), rel=1e-7)
    assert frechet_of_rows(a, a[:15]) == pytest.approx(frechet_distance(Moments.of(a), Moments.of(a[:15])), rel=1e-7)
    there, back = frechet_distance(Moments.of(a), Moments.of(b)), frechet_distance(Moments.of(b), Moments.of(a))
    assert there == pytest.approx(back, rel=1e-9) and there > 1


def test_between_known_gaussians_it_is_what_it_must_be():
    """`|m|^2 + sum (s - 1)^2` for independent coordinates."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200_000, 4)), 2 * rng.normal(size=(200_000, 4)) + [1, 0, 0, 2]
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(5 + 4, rel=0.01)


def test_moments_that_come_in_pieces_are_those_of_the_whole():
    x = features(500, 12, 0, shift=1e3)
    pieces = Moments.none(12)
    for piece in np.array_split(x, 7):
        pieces = pieces + Moments.of(piece)
    whole = Moments.of(x)
    assert pieces.count == 500
    np.testing.assert_allclose(pieces.mean_D, whole.mean_D, rtol=1e-12)
    np.testing.assert_allclose(pieces.covariance_DD, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-7, atol=1e-9)


def test_of_few_samples_it_is_bias_and_tends_to_nothing_for_one_distribution():
    a, b = features(400, 32, 0), features(400, 32, 1)
    curve = frechet_by_count(a, b)
    limit = at_infinity(curve)
    values = [value for _, value in curve]
    assert values == sorted(values, reverse=True) and [n for n, _ in curve][-1] == 400
    assert abs(limit) < 0.2 * values[-1]
    among = [
        frechet_distance(Moments.of(features(400, 32, s)), Moments.of(features(400, 32, s + 99))) for s in range(30)
    ]
    assert 0.4 * np.std(among) < frechet_spread(a, b) < 3 * np.std(among)


def test_the_kernel_distance_is_unbiased_and_grows_with_what_is_wrong():
    same = [kernel_distance(features(100, 8, s), features(100, 8, s + 50)) for s in range(40)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 40**0.5
    apart = [kernel_distance(features(200, 8, 0), features(200, 8, 1, shift=shift)) for shift in (0.0, 0.3, 0.6)]
    assert apart == sorted(apart) and apart[2] > 10 * abs(apart[0])
    x, y = features(5, 3, 0).astype(float), features(4, 3, 1).astype(float)
    k = lambda a, b: (float(a @ b) / 3 + 1) ** 3  # noqa: E731
    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    assert kernel_distance(x, y) == pytest.approx(sum(within) - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_precision_is_lost_by_what_is_unreal_and_recall_by_what_is_missing():
    real = features(300, 6, 0)
    assert precision_recall(real, features(300, 6, 1)) > (0.9, 0.9)
    precision, recall = precision_recall(real, real[:10] * 0.01)
    assert precision == 1 and recall < 0.2
    assert precision_recall(real, real + 100) == (0, 0)
