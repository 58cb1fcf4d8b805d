import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.serving.mock import MockSession

LEFT = {"steer": 0.8, "throttle": 0.5, "brake": 0.0}
RIGHT = {"steer": -0.8, "throttle": 0.5, "brake": 0.0}


@pytest.fixture
def session():
    return MockSession(height=64, width=128)


def drive(session, action, steps=3):
    return np.stack([session.step(action) for _ in range(steps)])


def test_frames_are_pictures_of_the_size_said(session):
    for frame in (session.reset(), session.step(LEFT)):
        assert frame.shape == (session.height, session.width, 3) and frame.dtype == np.uint8
        assert frame.std() > 5


def test_scene_seed_and_commands_decide_the_frames(session):
    def run(scene, seed, action):
        session.reset(scene, seed)
        return drive(session, action)

    once = run(0, 3, LEFT)
    np.testing.assert_array_equal(run(0, 3, LEFT), once)
    for other in (run(0, 3, RIGHT), run(0, 4, LEFT), run(len(session.scenes) - 1, 3, LEFT)):
        assert np.abs(other.astype(int) - once).mean() > 1


def test_steering_left_shifts_the_view_to_the_right(session):
    left, right = (drive_from_start(session, action) for action in (LEFT, RIGHT))
    middle = session.reset()[20:40]
    shifts = [int(np.argmin([np.abs(np.roll(middle, d, 1).astype(int) - frame[20:40]).mean() for d in range(-20, 21)])) - 20
              for frame in (left, right)]  # fmt: skip
    assert shifts[0] > 0 > shifts[1]


def drive_from_start(session, action):
    session.reset()
    return drive(session, action, steps=3)[-1]


def test_a_world_branches(session):
    drive(session, LEFT)
    fork = session.snapshot()
    first = drive(session, RIGHT)
    for _ in range(2):
        session.restore(fork)
        np.testing.assert_array_equal(drive(session, RIGHT), first)


def test_a_size_that_cannot_be_drawn_is_named():
    with pytest.raises(UserError, match="height = 3"):
        MockSession(height=3)
