import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadcast.data.loading.mixture import LONGEST_PERIOD, Turns
from roadcast.errors import UserError


def deviation(turns: Turns) -> float:
    """The largest difference of anyone's number of turns from their share, over all beginnings of a period."""
    period = len(turns.who_P)
    had = np.cumsum(turns.who_P[:, None] == np.arange(len(turns.count_R)), axis=0)
    return float(np.abs(had - np.arange(1, period + 1)[:, None] * turns.count_R / period).max())


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=9))
def test_everyone_has_their_share_of_every_beginning_within_less_than_one(weights):
    turns = Turns.of(weights)
    assert np.allclose(turns.count_R / len(turns.who_P), np.array(weights) / sum(weights), rtol=0, atol=1e-12)
    assert deviation(turns) <= 1 - 1 / (2 * len(weights) - 2) + 1e-9


def test_turns_are_found_at_any_place_without_walking_there():
    turns = Turns.of([0.5, 0.3, 0.2])
    who, nth = turns.at(np.arange(1000))
    for one in range(3):
        assert np.array_equal(nth[who == one], np.arange((who == one).sum()))
    far_who, far_nth = turns.at(np.arange(10**12, 10**12 + 10))
    assert np.array_equal(far_who, who[:10]) and np.array_equal(
        far_nth, nth[:10] + 10**11 * np.array([5, 3, 2])[who[:10]]
    )


def test_shares_that_need_a_longer_period_are_kept_to_a_ten_thousandth_and_nobody_is_forgotten():
    turns = Turns.of([1, np.pi, 1e-6])
    assert len(turns.who_P) <= LONGEST_PERIOD + 1 and turns.count_R[2] == 1
    assert np.allclose(turns.count_R[:2] / len(turns.who_P), np.array([1, np.pi]) / (1 + np.pi), atol=2e-4)
    assert deviation(turns) < 1


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_positive_number_is_refused(weight):
    with pytest.raises(UserError, match="give a positive number, or leave the reel out"):
        Turns.of([1.0, weight])
