import json
import math
import random

import pytest

from roadcast.config import GuardConfig
from roadcast.training.guard import CLEAN, OVERFLOWS, SMALLEST_WINDOW, EarlyStopping, Guard


def fed(config: GuardConfig, steps: int = 60, seed: int = 0) -> Guard:
    """A guard that has seen `steps` ordinary steps: a loss that falls, a skewed norm."""
    guard, chance = Guard(config), random.Random(seed)
    for step in range(steps):
        guard.judge(step, 1 + 0.1 * chance.gauss(0, 1) - 0.002 * step, math.exp(0.5 * chance.gauss(0, 1)))
    return guard


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize(("loss", "norm"), [(9.0, 1.0), (1.0, 1e4)])
def test_a_loss_or_norm_far_above_those_before_is_refused(action, loss, norm):
    verdict = fed(GuardConfig(action)).judge(60, loss, norm)
    assert verdict.action == action and "robust deviations above the median of the last 60 steps" in verdict.reason
    assert (verdict.loss_z > 8) == (loss > 1) and (verdict.norm_z > 8) == (norm > 1)


def test_log_says_so_and_steps_and_off_says_nothing():
    logged, unwatched = (fed(GuardConfig(action)).judge(60, 9.0, 1.0) for action in ("log", "off"))
    assert (logged.action, unwatched.action) == ("step", "step") and logged.reason and unwatched.reason is None


def test_a_low_loss_is_good_news():
    assert fed(GuardConfig("skip")).judge(60, -50.0, 1e-9).action == "step"


@pytest.mark.parametrize("action", ["off", "log", "skip"])
@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (-math.inf, 1.0)])
def test_what_is_not_finite_is_never_stepped_with(action, loss, norm):
    verdict = Guard(GuardConfig(action)).judge(0, loss, norm)
    assert verdict.action == "skip" and "gradient norm" in verdict.reason


def test_ordinary_noise_raises_no_alarm_in_ten_thousand_steps():
    guard, chance = Guard(GuardConfig("skip")), random.Random(1)
    for step in range(10_000):
        noise = chance.gauss(0, 1), chance.gauss(0, 1)
        verdict = guard.judge(step, (1 + 0.2 * noise[0]) * 0.9998**step, math.exp(0.5 * noise[1]))
        assert verdict.action == "step" and verdict.reason is None


def test_a_smooth_window_does_not_alarm_at_a_little_more():
    guard = Guard(GuardConfig("skip"))
    for step in range(100):
        guard.judge(step, 1.0, 1.0)
    assert guard.judge(100, 1.5, 1.5).action == "step"
    assert guard.judge(101, 3.0, 1.0).action == "skip"


def test_nothing_is_judged_before_there_is_something_to_judge_by():
    young, grown = (
        fed(GuardConfig("skip"), steps).judge(steps, 99.0, 1.0) for steps in (SMALLEST_WINDOW - 1, SMALLEST_WINDOW)
    )
    assert (young.action, young.loss_z) == ("step", None) and grown.action == "skip"


def test_skipped_steps_do_not_join_the_window():
    guard = fed(GuardConfig("skip"))
    assert all(guard.judge(60 + n, 9.0, 1.0).action == "skip" for n in range(30))


def test_more_skipped_in_a_row_than_is_borne_end_the_stage_with_a_remedy():
    guard = fed(GuardConfig("skip", rollbacks=2))
    actions = [guard.judge(60 + n, 9.0, 1.0).action for n in range(20)]
    guard.judge(80, 1.0, 1.0)  # a good one: the row ends
    actions += [guard.judge(81 + n, math.nan, 1.0).action for n in range(20)]
    last = guard.judge(101, math.nan, 1.0)
    assert set(actions) == {"skip"} and last.action == "stop"
    assert (
        "step 101" in last.reason
        and "after 20 skipped steps in a row" in last.reason
        and "guard.threshold" in last.reason
    )


def test_rollbacks_are_in_a_row_until_many_clean_steps():
    guard = fed(GuardConfig("rollback", rollbacks=2))
    assert [guard.judge(60, 9.0, 1.0).action for _ in range(2)] == ["rollback", "rollback"]
    for step in range(CLEAN - 1):
        guard.judge(step, 1.0, 1.0)
    assert guard.judge(0, math.nan, 1.0).action == "stop"
    for step in range(CLEAN):
        guard.judge(step, 1.0, 1.0)
    assert guard.judge(0, math.nan, 1.0).action == "rollback"


def test_an_overflow_is_no_anomaly_unless_there_is_no_end_of_them():
    guard = fed(GuardConfig("rollback"))
    before = guard.state()
    for n in range(OVERFLOWS):
        verdict = guard.judge(60 + n, 1.0, math.inf, overflow=True)
        assert verdict.action == "skip" and verdict.reason is None
    assert guard.state() == before | {"overflows": OVERFLOWS}
    assert guard.judge(0, 1.0, math.inf, overflow=True).action == "stop"
    assert fed(GuardConfig("rollback")).judge(60, math.nan, math.inf, overflow=True).action == "rollback"


def test_a_guard_goes_on_exactly_where_it_was():
    guard, resumed, chance = (
        fed(GuardConfig("rollback", window=30)),
        Guard(GuardConfig("rollback", window=30)),
        random.Random(2),
    )
    guard.judge(60, 9.0, 1.0)
    resumed.load_state(json.loads(json.dumps(guard.state())))
    for step in range(200):
        loss, norm = 1 + 0.5 * chance.gauss(0, 1), math.exp(chance.gauss(0, 1))
        assert guard.judge(step, loss, norm) == resumed.judge(step, loss, norm)
    assert resumed.state() == guard.state()


def test_a_run_begun_before_there_were_guards_begins_with_an_empty_one():
    guard = fed(GuardConfig())
    guard.load_state({})
    assert guard.state() == Guard(GuardConfig()).state()


def test_a_stage_ends_when_patience_does_and_knows_its_best():
    stopping = EarlyStopping(2)
    assert [stopping.judge(step, loss) for step, loss in enumerate([3.0, 1.0, 2.0, 4.0])] == [False, False, False, True]
    assert stopping.over and stopping.best == 1  # 3, 2, 2 and 3, smoothed


def test_a_loss_that_is_not_a_number_is_no_better_and_spoils_nothing():
    stopping = EarlyStopping(3)
    stopping.judge(0, 1.0)
    assert not stopping.judge(1, math.nan) and not stopping.judge(2, 0.5) and stopping.best == 2


def test_without_patience_it_only_watches():
    stopping = EarlyStopping(0)
    assert not any(stopping.judge(step, float(step)) for step in range(50)) and stopping.best == 0


def test_early_stopping_goes_on_where_it_was():
    stopping = EarlyStopping(3)
    for step, losses in enumerate([[], [2.0], [1.0, 1.7]]):
        for loss in losses:
            stopping.judge(step, loss)
        resumed = EarlyStopping(3)
        resumed.load_state(json.loads(json.dumps(stopping.state())))
        assert vars(resumed) == vars(stopping)
