"""Poses, matrices and motions agree with each other and with what can be worked out by hand."""

import numpy as np
import pytest

from roadcast.data.geometry import inverse, matrix_of, moved, pose_of, project, relative, yaw_of


def _poses(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(count, 4))
    return np.concatenate([rng.normal(size=(count, 3)) * 20, q / np.linalg.norm(q, axis=1, keepdims=True)], 1)


def _about(axis: int, angle: float) -> np.ndarray:
    pose = np.array([0.0, 0, 0, np.cos(angle / 2), 0, 0, 0])
    pose[4 + axis] = np.sin(angle / 2)
    return pose


@pytest.mark.parametrize(
    ("axis", "point", "turned"), [(2, (1, 0, 0), (0, 1, 0)), (0, (0, 1, 0), (0, 0, 1)), (1, (0, 0, 1), (1, 0, 0))]
)
def test_a_quarter_turn_goes_from_each_axis_to_the_next(axis, point, turned):
    matrix = matrix_of(_about(axis, np.pi / 2))
    assert np.allclose(moved(np.array([point], float), matrix), [turned])


def test_a_point_is_turned_then_shifted():
    pose = _about(2, np.pi / 2)
    pose[:3] = 10, 20, 30
    assert np.allclose(moved(np.array([[1.0, 2, 3], [0, 0, 0]]), matrix_of(pose)), [[8, 21, 33], [10, 20, 30]])


def test_matrices_are_rigid_whatever_the_length_of_the_quaternion():
    poses = _poses(200)
    longer = poses * np.array([1, 1, 1, 3, 3, 3, 3])
    matrices = matrix_of(longer)
    assert np.allclose(matrices, matrix_of(poses))
    assert np.allclose(np.swapaxes(matrices[:, :3, :3], 1, 2) @ matrices[:, :3, :3], np.eye(3))
    assert np.allclose(np.linalg.det(matrices), 1) and np.allclose(matrices[:, 3], [0, 0, 0, 1])


def test_poses_come_back_from_matrices_also_near_half_turns():
    poses = [_poses(500)] + [_about(axis, np.pi + small)[None] for axis in range(3) for small in (0, 1e-9, -1e-4)]
    poses = np.concatenate(poses)
    back = pose_of(matrix_of(poses))
    assert np.allclose(back[:, :3], poses[:, :3])
    assert np.allclose(np.abs(np.sum(back[:, 3:] * poses[:, 3:], 1)), 1) and (back[:, 3] >= 0).all()
    assert np.allclose(matrix_of(back), matrix_of(poses), atol=1e-8)


def test_leading_axes_are_kept():
    poses = _poses(6).reshape(2, 3, 7)
    assert matrix_of(poses).shape == (2, 3, 4, 4) and pose_of(matrix_of(poses)).shape == (2, 3, 7)
    assert np.allclose(matrix_of(poses)[1, 2], matrix_of(poses[1, 2])) and yaw_of(poses).shape == (2, 3)


def test_an_inverse_takes_back():
    matrices = matrix_of(_poses(50))
    assert np.allclose(inverse(matrices) @ matrices, np.eye(4)) and np.allclose(matrices @ inverse(matrices), np.eye(4))


def test_relative_motion_is_in_the_frame_of_the_pose_before():
    pose = np.zeros((3, 7))
    yaws = np.array([np.pi / 2, np.pi / 2, np.pi])
    pose[:, 3], pose[:, 6] = np.cos(yaws / 2), np.sin(yaws / 2)
    pose[:, :2] = [(5, 5), (5, 7), (4, 7)]
    steps = relative(pose)
    assert np.allclose(steps[0], [0, 0, 0, 1, 0, 0, 0])
    assert np.allclose(steps[1], [2, 0, 0, 1, 0, 0, 0]), "north in the world is ahead for a car that looks north"
    assert np.allclose(steps[2, :3], [0, 1, 0]) and np.isclose(yaw_of(steps[2]), np.pi / 2)


def test_relative_motion_does_not_depend_on_the_world_s_frame():
    poses = _poses(20)
    again = pose_of(matrix_of(_poses(1, 7)[0]) @ matrix_of(poses))
    assert np.allclose(relative(poses), relative(again), atol=1e-8)


def test_relative_motion_is_unknown_next_to_an_unknown_pose():
    poses = _poses(8)
    poses[[0, 4]] = np.nan
    unknown = np.isnan(relative(poses))
    assert unknown.any(1).tolist() == [True, True, False, False, True, True, False, False]
    assert np.array_equal(unknown.any(1), unknown.all(1))


@pytest.mark.parametrize("yaw", [0.0, 0.3, -2.5, 3.1])
def test_heading_is_that_of_the_forward_axis_on_the_ground(yaw):
    pose = pose_of(matrix_of(_about(2, yaw)) @ matrix_of(_about(1, 0.2)) @ matrix_of(_about(0, 0.1)))
    forward = matrix_of(pose)[:3, 0]
    assert np.isclose(yaw_of(pose), yaw) and np.isclose(np.arctan2(forward[1], forward[0]), yaw)


def test_points_are_projected_right_and_down():
    intrinsics = [[100, 0, 32], [0, 110, 24], [0, 0, 1]]
    points = np.array([[0.0, 0, 5], [1, 0, 5], [0, 1, 10]])
    assert np.allclose(project(points, intrinsics), [[32, 24], [52, 24], [32, 35]])
