import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.serving.backend import SessionBackend
from roadcast.serving.mock import MockBackend, MockSession

ACTIONS = [{"steer": 0.5, "throttle": 0.8}, {"steer": -0.9}, {"brake": 1.0}]


@pytest.fixture
def backend():
    return MockBackend(slots=3, height=32, width=64)


def frames(backend, slot, company=()):
    return [backend.step({**dict.fromkeys(company, ACTIONS[0]), slot: a})[slot].frame_HWC for a in ACTIONS]


def test_a_slots_frames_do_not_depend_on_the_others(backend):
    backend.begin(0, 1, seed=3)
    alone = frames(backend, 0)
    for slot, seed in ((1, 8), (2, 3), (0, 9)):
        backend.begin(slot, 1, seed)
    np.testing.assert_array_equal(frames(backend, 2, company=[0, 1]), alone)


def test_a_step_that_fails_in_one_slot_is_taken_back_in_all(backend, monkeypatch):
    backend.begin(0, 0, seed=1)
    backend.begin(1, 0, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(backend.sessions[1], "step", lambda action: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            backend.step({0: ACTIONS[0], 1: ACTIONS[0]})
    np.testing.assert_array_equal(frames(backend, 0), frames(backend, 1))


def test_a_snapshot_goes_on_in_another_slot(backend):
    backend.begin(0, 2, seed=4)
    backend.step({0: ACTIONS[0]})
    here, first = backend.snapshot(0), frames(backend, 0)
    for slot in (1, 0):
        backend.restore(slot, here)
        np.testing.assert_array_equal(frames(backend, slot), first)


def test_what_cannot_be_begun_is_named(backend):
    clip = np.zeros((2, 32, 64, 3), np.uint8), np.zeros((2, 3), np.float32), np.ones((2, 3), bool)
    with pytest.raises(UserError, match="scene 99 does not exist"):
        backend.begin(0, 99, seed=0)
    for bad, match in (
        ((clip[0][:0], clip[1][:0], clip[2][:0]), "frames are"),
        ((clip[0].astype(np.float32), *clip[1:]), "give uint8"),
        ((clip[0], clip[1], clip[2][:1]), "known are"),
        ((clip[0], clip[1] + np.nan, clip[2]), "not a finite number"),
    ):
        with pytest.raises(UserError, match=match):
            backend.begin_from(0, *bad, seed=0)
    with pytest.raises(UserError, match="its own scenes"):
        SessionBackend([MockSession(32, 64)]).begin_from(0, *clip, seed=0)
