"""When a version is taken out of traffic, and what becomes of those who drive on it. Time is a number that tests move."""

import numpy as np
import pytest

from roadcast.serving.canary import Traffic, drawn
from roadcast.serving.health import picture_fault
from roadcast.serving.mock import MockSession
from roadcast.serving.rollback import Guard, Limits, Watch

LIMITS = Limits(step_s=0.05)


@pytest.fixture
def watch(clock):
    return Watch(LIMITS, clock)


def drive(watch, clock, seconds, rate=20, took=0.01, fault=lambda number: None, foreign=False):
    """A session driven at `rate` frames a second for so long; when the watch gave its verdict, if it did, and which."""
    begun = clock.now
    for number in range(round(seconds * rate)):
        clock.now += 1 / rate
        watch.step(took(number) if callable(took) else took, fault(number), foreign)
        if why := watch.verdict():
            return clock.now - begun, why
    return None


def test_a_good_version_stays(watch, clock):
    """One step in 200 slow, one frame in 50 frozen, one step in 30 failed: below every limit."""
    assert (
        drive(
            watch, clock, 300,
            took=lambda n: 0.5 if n % 200 == 0 else 0.01,
            fault=lambda n: "error" if n % 30 == 0 else "frozen" if n % 50 == 1 else None,
        ) is None
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["nan", "blank", "frozen"])
def test_frames_that_are_none_end_it_within_seconds(watch, clock, kind):
    when, why = drive(watch, clock, 60, fault=lambda n: kind)
    assert when <= 5 and why == f"100% of frames were {kind}, at most 20% may be bad"


def test_a_version_that_goes_bad_after_long_good_service_goes_within_a_window(watch, clock):
    assert drive(watch, clock, 600) is None
    when, why = drive(watch, clock, 60, fault=lambda n: "frozen")
    assert when <= LIMITS.window_s and "frozen" in why


def test_steps_that_fail_end_it(watch, clock):
    when, why = drive(watch, clock, 60, fault=lambda n: "error" if n % 10 == 0 else None)
    assert when <= 10 and "10% of steps failed, at most 5% may" in why


def test_p99_over_its_limit_ends_it_after_sixty_seconds_and_not_before(watch, clock):
    """Two steps in a hundred are slow: the mean and the median are as good as ever, the 99th percentile is not."""
    when, why = drive(watch, clock, 120, rate=50, took=lambda n: 0.06 if n % 50 == 0 else 0.01)
    assert 60 <= when <= 63 and why == "p99 of a step was over 50 ms for 60 s"


def test_a_slow_spell_of_half_a_minute_is_forgiven(watch, clock):
    for _ in range(4):
        assert drive(watch, clock, 35, took=0.06) is None
        assert drive(watch, clock, 30) is None


def test_an_idle_version_is_not_judged_by_its_last_steps(watch, clock):
    assert drive(watch, clock, 59, took=0.06) is None
    clock.now += 300
    assert watch.verdict() is None
    assert drive(watch, clock, 50, took=0.06) is None


def test_three_broken_sessions_in_two_minutes_end_it_and_three_in_a_day_do_not(watch, clock):
    for _ in range(6):
        clock.now += 4 * 3600
        watch.broke(driving=0)
        assert watch.verdict() is None
    for _ in range(2):
        clock.now += 20
        watch.broke(driving=1)
    assert watch.verdict() == "3 sessions broke within 120 s, and 1 drove on"


def test_a_few_that_break_among_many_that_drive_end_nothing(watch):
    """Somebody who has found a clip that a world cannot live with must not be able to take it from all others."""
    for _ in range(5):
        watch.broke(driving=6)
    assert watch.verdict() is None


def test_a_version_that_makes_one_frame_a_second_is_too_slow_all_the_same(watch, clock):
    when, why = drive(watch, clock, 120, rate=1, took=1.0)
    assert 60 <= when <= 62 and "p99" in why


def test_a_model_that_sees_what_it_never_learnt_goes(watch, clock):
    when, why = drive(watch, clock, 60, foreign=True)
    assert when <= 5 and "out of distribution" in why


def test_a_handful_of_steps_proves_nothing(watch, clock):
    assert drive(watch, clock, 1.9, fault=lambda n: "nan") is None


def test_memory_does_not_grow_with_traffic(watch, clock):
    drive(watch, clock, 200, rate=100)
    assert len(watch._seconds) <= LIMITS.window_s + 2


def test_faults_are_told_from_pictures():
    session = MockSession(64, 128)
    on, brake = {"steer": 0.1, "throttle": 0.5}, {"brake": 1.0}
    before, frame = session.step(on), session.step(on)
    assert picture_fault(frame, before, on) is None
    assert picture_fault(frame, frame, on) == "frozen"
    assert picture_fault(frame, frame, brake) is None and picture_fault(frame, frame, {"throttle": 0.0}) is None
    assert picture_fault(np.zeros_like(frame), before, on) == "blank"
    assert picture_fault(np.full_like(frame, 128), before, brake) == "blank"
    night = session.reset(session.scenes.index("night"))
    assert picture_fault(night, frame, on) is None


def test_a_bad_version_gives_its_place_to_the_one_before(clock):
    traffic = Traffic(stable=3, before=2)
    guard = Guard(traffic)
    guard.watches = {3: Watch(LIMITS, clock), 2: Watch(LIMITS, clock)}
    drive(guard.watches[3], clock, 10, fault=lambda n: "frozen")
    assert guard.tend() == {3: "100% of frames were frozen, at most 20% may be bad"}
    assert traffic.choose("c") == 2 and traffic.kept == {2} and 3 in guard.condemned
    assert guard.tend() == {}


def test_a_bad_canary_ends_its_trial_and_the_stable_version_knows_nothing_of_it(clock):
    traffic = Traffic(stable=2, before=1, canary=3, share=1.0)
    guard = Guard(traffic)
    guard.watches = {2: Watch(LIMITS, clock), 3: Watch(LIMITS, clock)}
    assert traffic.choose("a") == 3
    drive(guard.watches[2], clock, 10)
    drive(guard.watches[3], clock, 10, fault=lambda n: "nan")
    assert list(guard.tend()) == [3]
    assert traffic.choose("b") == 2 and (traffic.stable, traffic.canary) == (2, None)


def test_a_version_with_nothing_behind_it_goes_on(clock, caplog):
    traffic = Traffic(stable=1)
    guard = Guard(traffic)
    guard.watches = {1: Watch(LIMITS, clock)}
    drive(guard.watches[1], clock, 10, fault=lambda n: "blank")
    assert guard.tend() == {} and guard.tend() == {} and not guard.condemned
    assert traffic.choose("a") == 1 and caplog.text.count("there is no other") == 1
    traffic.before = 0
    assert list(guard.tend()) == [1], "as soon as there is another"


def test_the_canary_has_its_share_of_new_sessions_the_same_on_every_replica():
    names = [f"session-{n}" for n in range(4000)]
    tried = [name for name in names if drawn(name, 0.05)]
    assert 0.03 < len(tried) / len(names) < 0.07
    assert set(tried) <= {name for name in names if drawn(name, 0.2)}, "a larger share keeps those it had"
    assert not any(drawn(name, 0.0) for name in names) and all(drawn(name, 1.0) for name in names)
