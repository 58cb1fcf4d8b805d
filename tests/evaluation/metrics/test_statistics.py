import numpy as np
import pytest
from scipy import stats

from roadcast.evaluation.metrics.statistics import (
    correlation_estimate,
    determination_estimate,
    effect_size,
    mean_estimate,
    ratio_estimate,
    sign_flip_p,
    spearman,
)


def test_interval_of_the_mean_is_that_of_the_normal_theory_for_many_clips():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 2))
    found = mean_estimate(values)
    half = 1.96 * values.std(axis=0, ddof=1) / 20
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.low, values.mean(axis=0) - half, atol=0.03)
    np.testing.assert_allclose(found.high, values.mean(axis=0) + half, atol=0.03)


def test_ratio_of_paired_clips_is_sharp_where_the_clips_are_not():
    real = np.random.default_rng(1).uniform(1, 10, size=50)
    found = ratio_estimate(0.5 * real, real)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_correlation_agrees_with_scipy_and_knows_when_there_is_none():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 12))
    y = x + rng.normal(size=x.shape)
    found = correlation_estimate(x, y)
    assert found.mean == pytest.approx(stats.pearsonr(x.ravel(), y.ravel()).statistic)
    assert 0 < found.low < found.mean < found.high < 1
    assert correlation_estimate(x, np.ones_like(x)) is None


def test_what_is_not_known_counts_for_nothing():
    rng = np.random.default_rng(5)
    x, known = rng.normal(size=(30, 12)), rng.random((30, 12)) < 0.7
    y = x + rng.normal(size=x.shape)
    spoilt = np.where(known, y, np.nan)
    found = correlation_estimate(x, spoilt, known)
    assert found.mean == pytest.approx(stats.pearsonr(x[known], y[known]).statistic)
    explained = 1 - np.square(x[known] - y[known]).sum() / np.square(y[known] - y[known].mean()).sum()
    assert determination_estimate(x, spoilt, known).mean == pytest.approx(explained)
    assert correlation_estimate(x, y, np.zeros_like(known)) is None
    assert determination_estimate(x, y, np.zeros_like(known)) is None


def test_determination_is_one_for_the_truth_and_zero_for_its_mean():
    y = np.random.default_rng(6).normal(3.0, 2.0, size=(20, 10))
    assert determination_estimate(y, y).mean == 1.0
    assert determination_estimate(np.full_like(y, y.mean()), y).mean == pytest.approx(0.0)
    assert determination_estimate(y[::-1], y).high < 0
    assert determination_estimate(y, np.ones_like(y)) is None


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_agrees_with_scipy(ties):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=40), rng.normal(size=40)
    y += x
    if ties:
        x, y = x.round(), y.round()
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_sign_flips_agree_with_scipy_and_are_exact_for_few_clips():
    rng = np.random.default_rng(4)
    few, many = rng.normal(0.5, 1, 8), rng.normal(0.25, 1, 40)
    theirs = [
        stats.permutation_test(
            (d,), np.mean, permutation_type="samples", alternative="greater", n_resamples=20000, random_state=0
        ).pvalue
        for d in (few, many)
    ]
    assert sign_flip_p(few) == pytest.approx(theirs[0], abs=1e-12)
    assert sign_flip_p(many) == pytest.approx(theirs[1], abs=0.01)


def test_sign_flips_see_nothing_in_nothing_and_the_most_in_what_never_fails():
    assert sign_flip_p(np.zeros(7)) == 1.0
    assert sign_flip_p(np.ones(7)) == 2**-7
    assert sign_flip_p(-np.ones(7)) == 1.0


def test_effect_size_is_mean_over_deviation():
    assert effect_size(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
