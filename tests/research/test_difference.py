"""Differences over seeds: paired, with Student's interval, and no verdict that the interval does not carry."""

import math

import numpy as np
import pytest
from scipy import stats

from roadcast.errors import UserError
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.research.difference import difference, t975, t_interval, verdict
from rows import row


@pytest.mark.parametrize("freedom", [1, 2, 5, 9, 10, 15, 30, 200])
def test_students_t_is_scipys(freedom):
    assert t975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)


def test_the_interval_is_that_of_a_paired_t_test():
    values = np.array([0.3, 0.1, 0.4, 0.25])
    ours, theirs = t_interval(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_what_seeds_share_is_not_noise():
    """Scores that differ by seed far more than by variant: the paired difference is told all the same."""
    base = [row("base", seed, 20 + 3 * seed) for seed in range(3)]
    variant = [row("other", seed, 20.5 + 3 * seed + 0.01 * seed) for seed in range(3)]
    found = difference(base, variant, "psnr@4")
    assert found is not None
    assert (found.seeds, found.verdict) == (3, "better")
    assert found.change.mean == pytest.approx(0.51)


def test_only_seeds_that_both_have_count():
    base, variant = [row("base", s, 20) for s in (0, 1)], [row("other", s, 21) for s in (1, 2)]
    found = difference(base, variant, "psnr@4")
    assert found is not None
    assert found.seeds == 1 and math.isinf(found.half) and found.verdict == "unclear"
    assert difference(base[:1], variant, "psnr@4") is None
    assert difference(base, base, "ssim@4") is None  # which none of them has


def test_other_protocols_are_refused_and_other_numbers_of_passes_are_not():
    base = [row("base", 0, 20)]
    assert difference(base, [row("other", 0, 21, protocol={"steps": 4})], "psnr@4") is not None
    with pytest.raises(
        UserError, match="base and other were measured by different protocols: split = 'val', now 'test'"
    ):
        difference(base, [row("other", 0, 21, protocol={"split": "test"})], "psnr@4")


@pytest.mark.parametrize(
    ("score", "low", "high", "says"),
    [
        ("psnr@8", 0.1, 0.3, "better"), ("psnr@8", -0.3, -0.1, "worse"), ("psnr@8", -0.1, 0.3, "unclear"),
        ("warp_error@8", 0.1, 0.3, "worse"), ("motion@8", 0.1, 0.3, "unclear"), ("steering", 0.1, 0.3, "better"),
        ("psnr@8", math.nan, math.nan, "unclear"),
    ],
)  # fmt: skip
def test_a_verdict_needs_an_interval_without_zero_and_a_direction(score, low, high, says):
    assert verdict(score, Estimate((low + high) / 2, low, high)) == says
