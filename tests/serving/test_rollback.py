"""When a version is taken out of traffic, and what becomes of those who drive on it. Time is a number that tests move."""

import numpy as np
import pytest

from bad_models import sealed
from roadcast.serving.canary import Traffic, drawn
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.health import picture_fault
from roadcast.serving.mock import MockSession
from roadcast.serving.registry import Registry
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


def test_three_crashes_in_two_minutes_are_a_loop_and_three_in_a_day_are_not(watch, clock):
    for _ in range(6):
        clock.now += 4 * 3600
        watch.crash()
        assert watch.verdict() is None
    for _ in range(2):
        clock.now += 20
        watch.crash()
    assert watch.verdict() == "crashed 3 times within 40 s"


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


@pytest.fixture
def registry(tmp_path):
    registry, version = Registry(FolderStore(tmp_path / "registry")), sealed(tmp_path / "version")
    for number in (1, 2, 3):
        registry.push("mine", version)
        registry.promote("mine", number, "production")
    return registry


def test_a_bad_version_loses_new_sessions_and_no_live_one(registry, clock):
    traffic = Traffic(stable=3, before=2)
    guard = Guard(registry, "mine", traffic, LIMITS, clock)
    assert [traffic.begin(name) for name in ("a", "b")] == [3, 3]
    drive(guard.watch(3), clock, 10, fault=lambda n: "frozen")
    assert guard.tend() == {3: "100% of frames were frozen, at most 20% may be bad"}
    assert traffic.begin("c") == 2 and registry.aliases("mine") == {"production": 2}
    assert traffic.live == {"a": 3, "b": 3, "c": 2} and traffic.needed == {2, 3}
    traffic.end("a")
    traffic.end("b")
    assert traffic.needed == {2}, "and now it can be unloaded"
    assert guard.tend() == {}
    assert registry.version("mine", 3).quarantined


def test_a_bad_canary_ends_its_trial_and_the_stable_version_knows_nothing_of_it(registry, clock):
    traffic = Traffic(stable=2, before=1)
    guard = Guard(registry, "mine", traffic, LIMITS, clock)
    traffic.try_out(3, share=1.0)
    assert traffic.begin("a") == 3
    drive(guard.watch(2), clock, 10)
    drive(guard.watch(3), clock, 10, fault=lambda n: "nan")
    assert list(guard.tend()) == [3]
    assert traffic.begin("b") == 2 and traffic.live["a"] == 3
    assert traffic.stable == 2 and traffic.canary is None


def test_a_registry_that_is_away_does_not_hold_a_rollback_up(registry, clock, monkeypatch, caplog):
    monkeypatch.setattr(registry.store, "append", lambda record: (_ for _ in ()).throw(ConnectionError("away")))
    traffic = Traffic(stable=3, before=2)
    guard = Guard(registry, "mine", traffic, LIMITS, clock)
    drive(guard.watch(3), clock, 10, fault=lambda n: "blank")
    assert list(guard.tend()) == [3]
    assert traffic.begin("a") == 2 and "registry could not be told" in caplog.text


def test_a_version_with_nothing_behind_it_goes_on(registry, clock):
    traffic = Traffic(stable=1)
    traffic.take_out(1)
    assert traffic.begin("a") == 1


def test_the_canary_has_its_share_of_new_sessions_the_same_on_every_replica():
    names = [f"session-{n}" for n in range(4000)]
    tried = [name for name in names if drawn(name, 0.05)]
    assert 0.03 < len(tried) / len(names) < 0.07
    assert set(tried) <= {name for name in names if drawn(name, 0.2)}, "a larger share keeps those it had"
    assert not any(drawn(name, 0.0) for name in names) and all(drawn(name, 1.0) for name in names)


def test_live_sessions_stay_where_they_are_when_a_canary_is_made_stable():
    traffic = Traffic(stable=1)
    traffic.begin("old")
    traffic.try_out(2, share=1.0)
    traffic.begin("new")
    traffic.move(2)
    assert traffic.begin("newer") == 2 and traffic.live == {"old": 1, "new": 2, "newer": 2}
    assert (traffic.before, traffic.canary, traffic.needed) == (1, None, {1, 2})
