import json
import math

import pytest

from roadcast.errors import UserError
from roadcast.objectives.share import Share


def shares(schedule: str, steps: int = 5) -> list[float]:
    share, seen = Share(schedule, 0.2, 0.6, 0.1, 1.1), []
    for step in range(steps):
        share.at(step, steps)
        seen.append(share.value)
    return seen


def test_a_linear_and_a_cosine_share_rise_from_the_first_step_to_the_last():
    assert shares("linear") == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    half = 0.4 - 0.2 * math.cos(math.pi / 4)
    assert shares("cosine") == pytest.approx([0.2, half, 0.4, 0.8 - half, 0.6])
    assert shares("linear", steps=1) == [0.2]


def test_a_share_by_drift_rises_while_drift_is_within_the_tolerance_of_its_best_and_is_held_otherwise():
    share, seen = Share("drift", 0.0, 0.35, 0.1, 1.1), []
    for step, drift in enumerate([1.0, 1.2, 1.05, 0.5, 0.6, math.nan, 0.54, 0.1]):
        share.at(step, 8)
        share.judged(drift)
        seen.append(share.value)
    assert seen == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.35, 0.35])


def test_what_a_share_by_drift_has_seen_goes_through_json_and_back_to_the_bit():
    share, again = (Share("drift", 0.0, 1.0, 0.1, 1.1) for _ in range(2))
    for drift in (1 / 3, 0.7, 0.3):
        share.judged(drift)
    again.load_state(json.loads(json.dumps(share.state())))
    assert again.value == share.value == 0.2 and again.best == 0.3
    again.load_state({})
    assert again.value == 0.0 and again.best == math.inf


@pytest.mark.parametrize(
    ("numbers", "said"),
    [((0.5, 0.2, 0.1, 1.0), "share_from = 0.5, share_to = 0.2"), ((0.0, 1.2, 0.1, 1.0), "0 <= from <= to <= 1"),
     ((0.0, 1.0, 0.0, 1.0), "rise = 0")],
)  # fmt: skip
def test_numbers_that_make_no_share_are_refused(numbers, said):
    with pytest.raises(UserError, match=said):
        Share("drift", *numbers)
