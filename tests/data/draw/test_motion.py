"""What stands still stays where it is in the world while the ego moves."""

import numpy as np

from roadcast.data.draw.motion import EgoMotion
from roadcast.data.geometry import moved

SECOND = 10**9


def straight(seconds: int = 3) -> EgoMotion:
    """10 m/s along the world's x."""
    t_ns = np.arange(seconds) * SECOND
    poses = np.zeros((seconds, 7))
    poses[:, 0], poses[:, 3] = 10 * np.arange(seconds), 1
    return EgoMotion(t_ns, poses)


def test_a_post_comes_nearer_by_what_was_driven():
    post = np.array([[30.0, 2, 0]])
    np.testing.assert_allclose(moved(post, straight().between(0, SECOND // 2)), [[25, 2, 0]], atol=1e-5)
    np.testing.assert_allclose(moved(post, straight().between(SECOND, 0)), [[40, 2, 0]], atol=1e-5)


def test_after_a_turn_to_the_left_the_post_is_to_the_right():
    half = np.sqrt(0.5)
    motion = EgoMotion(np.array([0, SECOND]), np.array([[0, 0, 0, 1, 0, 0, 0], [0, 0, 0, half, 0, 0, half]]))
    np.testing.assert_allclose(moved(np.array([[10.0, 0, 0]]), motion.between(0, SECOND)), [[0, -10, 0]], atol=1e-5)


def test_beyond_the_known_poses_the_outermost_hold_and_without_any_nothing_moves():
    np.testing.assert_allclose(straight().between(-SECOND, 9 * SECOND)[:3, 3], [-20, 0, 0], atol=1e-5)
    for poses in (None, np.full((3, 7), np.nan)):
        nowhere = EgoMotion(np.arange(3) * SECOND, poses)
        assert not nowhere.known and (nowhere.between(0, SECOND) == np.eye(4)).all()
        assert len(nowhere.path(0)[0]) == 0


def test_the_path_lies_behind_and_ahead():
    times, path = straight().path(SECOND)
    assert times.tolist() == [0, SECOND, 2 * SECOND]
    np.testing.assert_allclose(path, [[-10, 0, 0], [0, 0, 0], [10, 0, 0]], atol=1e-5)
