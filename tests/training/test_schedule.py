from itertools import pairwise

import pytest

from roadcast.config import StageConfig
from roadcast.training.schedule import learning_rate


def rates(**changes) -> list[float]:
    stage = StageConfig(steps=100, warmup=10, lr=1.0, lr_final=0.1, **changes)
    return [learning_rate(step, stage) for step in range(101)]


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_it_warms_up_and_ends_at_lr_final(schedule):
    row = rates(schedule=schedule)
    assert row[0] == 0.1 and row[9] == row[10] == max(row) == 1.0
    assert all(a < b for a, b in pairwise(row[:10])) and row[100] == pytest.approx(0.1)


def test_cosine_comes_down_all_the_way():
    row = rates()
    assert all(a > b for a, b in pairwise(row[10:]))
    assert row[55] == pytest.approx(0.55) and abs(row[99] - 0.1) < 1e-3


def test_wsd_is_level_and_then_comes_down_by_the_square_root():
    row = rates(schedule="wsd", cooldown=0.4)
    assert set(row[10:61]) == {1.0}
    assert row[70] == pytest.approx(0.1 + 0.9 * (1 - 0.25**0.5))
    assert all(a > b for a, b in pairwise(row[60:]))


def test_a_cooldown_that_reaches_into_the_warm_up_begins_after_it():
    row = rates(schedule="wsd", cooldown=1.0)
    assert row[9] == row[10] == 1.0 and all(a > b for a, b in pairwise(row[10:]))


def test_without_a_cooldown_it_stays_level():
    assert set(rates(schedule="wsd", cooldown=0.0)[10:100]) == {1.0}
