import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.serving.backend import NotFinite
from roadcast.serving.engine import Broken, Engine, Full, Gone, Limits
from roadcast.serving.mock import MockBackend

LEFT, RIGHT = {"steer": 0.8, "throttle": 0.9}, {"steer": -0.8, "throttle": 0.9}


@pytest.fixture
def engine(clock):
    return Engine(MockBackend(slots=3, height=32, width=64), Limits(age_s=100, idle_s=10, snapshots=2), clock)


def frame(shown):
    return shown.frame_HWC.copy()


def test_sessions_are_at_frames_of_their_own_and_step_in_any_company(engine):
    a, b = engine.create(seed=1), engine.create(seed=1)
    for _ in range(3):
        engine.step({a.id: LEFT})
    shown = engine.step({a.id: LEFT, b.id: LEFT})
    assert set(shown) == {a.id, b.id} and (len(a.log), len(b.log)) == (4, 1)
    assert not np.array_equal(shown[a.id].frame_HWC, shown[b.id].frame_HWC)
    for _ in range(3):
        engine.step({b.id: LEFT})
    assert np.array_equal(a.shown.frame_HWC, b.shown.frame_HWC)


def test_a_full_engine_says_when_to_come_back_and_a_closed_session_makes_room(engine, clock):
    ids = [engine.create().id for _ in range(3)]
    clock.now += 4
    engine.touch(ids[1])
    with pytest.raises(Full) as caught:
        engine.create()
    assert caught.value.retry_after_s == pytest.approx(6)
    with pytest.raises(Full):
        engine.branch(ids[0])
    engine.close(ids[2])
    assert engine.create().id not in ids


def test_a_branch_has_the_past_and_a_future_of_its_own(engine):
    seat = engine.create(seed=2)
    engine.step({seat.id: LEFT})
    twin = engine.branch(seat.id)
    assert np.array_equal(twin.shown.frame_HWC, seat.shown.frame_HWC)
    for _ in range(3):
        shown = engine.step({seat.id: LEFT, twin.id: RIGHT})
    assert not np.array_equal(shown[seat.id].frame_HWC, shown[twin.id].frame_HWC)
    assert list(twin.log) == [LEFT, RIGHT, RIGHT, RIGHT] and list(seat.log) == [LEFT] * 4


def test_snapshots_can_be_gone_back_and_across_to_and_the_oldest_goes(engine):
    seat = engine.create(seed=2)
    start = engine.snapshot(seat.id)
    left = frame(engine.step({seat.id: LEFT})[seat.id])
    after_left = engine.snapshot(seat.id)
    assert len(engine.restore(seat.id, start).frame_HWC) and len(seat.log) == 0
    engine.step({seat.id: RIGHT})
    assert np.array_equal(engine.restore(seat.id, after_left).frame_HWC, left) and list(seat.log) == [LEFT]
    engine.snapshot(seat.id)
    with pytest.raises(Gone, match="no snapshot"):
        engine.restore(seat.id, start)
    assert len(seat.snapshots) == 2


def test_a_log_replays_to_the_same_frame_after_resets_restores_and_branches(engine):
    seat = engine.create(seed=5)
    engine.step({seat.id: LEFT})
    engine.reset(seat.id, scene=1, seed=6)
    engine.step({seat.id: {"throttle": 0.1234567890123}})
    here = engine.snapshot(seat.id)
    engine.step({seat.id: RIGHT})
    engine.restore(seat.id, here)
    engine.step({seat.id: LEFT})
    for one in (seat, engine.branch(seat.id)):
        twin = engine.replay(one.log)
        assert np.array_equal(twin.shown.frame_HWC, one.shown.frame_HWC)
        engine.close(twin.id)
    assert list(seat.log) == [{"throttle": 0.1234567890123}, LEFT] and seat.log.start.scene == 1


def test_a_clip_begins_a_world_of_its_own_and_replays(engine):
    clip = np.zeros((4, 32, 64, 3), np.uint8), np.full((4, 3), 0.3, np.float32), np.ones((4, 3), bool)
    seat = engine.create_from_clip(*clip, seed=1)
    engine.step({seat.id: LEFT})
    twin = engine.replay(seat.log)
    assert np.array_equal(twin.shown.frame_HWC, seat.shown.frame_HWC)
    engine.close(twin.id)
    other = engine.create_from_clip(clip[0] + 1, *clip[1:], seed=1)
    assert not np.array_equal(engine.step({other.id: LEFT})[other.id].frame_HWC, seat.shown.frame_HWC)
    with pytest.raises(UserError, match="one row of 3"):
        engine.create_from_clip(clip[0], clip[1][:2], clip[2])
    assert len(engine) == 2, "a refused session takes no slot"


def test_old_and_idle_sessions_are_closed_and_used_ones_are_not(engine, clock):
    idle, used = engine.create(), engine.create()
    clock.now += 9
    engine.step({used.id: LEFT})
    assert engine.expire() == {}
    clock.now += 1
    assert engine.expire() == {idle.id: "idle"}
    with pytest.raises(Gone):
        engine.step({idle.id: LEFT})
    for _ in range(9):
        clock.now += 9
        engine.touch(used.id)
    clock.now += 9
    assert engine.expire() == {used.id: "age"} and not len(engine)
    assert engine.counts.closed == {"idle": 1, "age": 1} and engine.counts.created == 2


@pytest.mark.parametrize(
    ("action", "match"), [({"clutch": 1.0}, "clutch is no control"), ({"steer": float("nan")}, "finite number")]
)
def test_a_command_that_cannot_be_used_moves_nobody(engine, action, match):
    a, b = engine.create(), engine.create()
    with pytest.raises(UserError, match=match):
        engine.step({a.id: LEFT, b.id: action})
    assert len(a.log) == len(b.log) == engine.counts.steps == 0


def test_a_step_that_fails_in_one_session_moves_nobody_and_names_it(engine, monkeypatch):
    a, b = engine.create(seed=1), engine.create(seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(engine.backend.sessions[b.slot], "step", lambda action: (_ for _ in ()).throw(OSError("lost")))
        with pytest.raises(OSError, match="lost"):
            engine.step({a.id: LEFT, b.id: LEFT})

        def not_finite(actions):
            raise NotFinite([b.slot])

        patch.setattr(engine.backend, "step", not_finite)
        with pytest.raises(Broken) as caught:
            engine.step({a.id: LEFT, b.id: LEFT})
    assert caught.value.ids == [b.id] and engine.counts.failures == {"raised": 1, "not finite": 1}
    shown = engine.step({a.id: LEFT, b.id: LEFT})
    assert np.array_equal(shown[a.id].frame_HWC, shown[b.id].frame_HWC) and len(a.log) == 1


def test_ten_thousand_sessions_leave_nothing_behind(clock):
    class Empty:
        """A backend of one pixel."""

        fps, height, width, actions, scenes, slots, version = 1.0, 1, 1, ("steer",), ["one"], 8, ""
        held = 0

        def begin(self, slot, scene, seed):
            self.held += 1
            return np.zeros((1, 1, 3), np.uint8)

        def free(self, slot):
            self.held -= 1

    engine = Engine(Empty(), clock=clock)
    ids = set()
    for i in range(10_000):
        if len(engine) == 8:
            clock.now += 61
            assert len(engine.expire()) == 8
        ids.add(engine.create().id)
        if i % 2:
            engine.close(next(iter(engine.seats)))
    clock.now += 61
    engine.expire()
    assert len(ids) == 10_000 and not engine.seats and not engine.backend.held
    assert sum(engine.counts.closed.values()) == 10_000
