from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from roadcast.data.geometry import matrix_of, pose_of
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.evaluation.metrics.depth import depth_consistency, depth_errors, depth_flicker, depth_scale

K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
TO_EGO = np.array([[0.0, 0, 1, 1.5], [-1, 0, 0, 0.2], [0, -1, 0, 1.2], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Drive:
    """A drive of 10 frames in the built-in world, with all that is true of it."""

    frames: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    intrinsics: np.ndarray
    to_ego: np.ndarray

    def error(self, depth: np.ndarray | None = None, pose: np.ndarray | None = None, scale: float = 1.0) -> float:
        depth, pose = (own if given is None else given for given, own in ((depth, self.depth), (pose, self.pose)))
        return float(depth_consistency(depth, pose, self.intrinsics, self.to_ego, scale).mean())


@cache
def drive(camera: str = "front") -> Drive:
    world, driver = ToyWorld(20_000, 64, 128, cameras=(camera,)), Driver(20_000)
    rows = []
    for n in range(70):
        world.step(*driver.act(world))
        if n >= 60:
            rows.append((world.render(camera), world.depth(camera), world.pose))
    calibration = world.calibration[camera]
    return Drive(
        *map(np.stack, zip(*rows, strict=True)), np.array(calibration["intrinsics"]), np.array(calibration["to_ego"])
    )


def wall(pose_F7: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """Depth [F, 48, 64] of the plane n . X = offset of the world, by each pixel's ray: a scene of which all is known."""
    camera = matrix_of(pose_F7) @ TO_EGO
    u, v = np.meshgrid(np.arange(64), np.arange(48))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T
    along = np.einsum("hwi,fji,j->fhw", rays, camera[:, :3, :3], normal)
    return (offset - camera[:, :3, 3] @ normal)[:, None, None] / along


def test_errors_are_those_of_their_formulas():
    true = np.array([[[10.0, 20.0], [np.inf, 100.0]]])
    depth = np.array([[[11.0, 30.0], [1.0, 1.0]]])
    errors = depth_errors(depth, true)
    logs = np.log([1.1, 1.5])
    assert errors.abs_rel == pytest.approx(0.3)
    assert errors.delta == 0.5
    assert errors.silog == pytest.approx(np.sqrt((logs**2).mean() - logs.mean() ** 2))
    assert depth_errors(depth, true, farthest=200).abs_rel == pytest.approx((0.1 + 0.5 + 0.99) / 3)


def test_a_factor_a_picture_matters_to_all_but_silog_unless_it_is_taken_out():
    true = drive().depth[:2]
    off = true * np.array([2.0, 0.5])[:, None, None]
    assert depth_errors(off, true).abs_rel == pytest.approx(0.75) and depth_errors(off, true).silog < 1e-6
    assert depth_errors(off, true, scaled=True).abs_rel < 1e-6 and depth_errors(off, true, scaled=True).delta == 1


def test_depth_that_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"depth is \(2, 4\) and the truth \(4, 2\)"):
        depth_errors(np.ones((2, 4)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="no pixel has a true depth within 80"):
        depth_errors(np.ones((2, 4)), np.full((2, 4), np.inf))


def test_a_plane_seen_on_any_way_past_it_is_one_rigid_scene():
    rng = np.random.default_rng(0)
    turn = 0.02 * rng.standard_normal((5, 3))
    pose = np.concatenate([0.5 * rng.standard_normal((5, 3)), np.ones((5, 1)), turn], axis=1)
    depth = wall(pose, np.array([0.9, 0.2, 0.1]), 12.0)
    assert depth.min() > 1
    assert depth_consistency(depth, pose, K, TO_EGO).max() < 1e-3
    assert depth_consistency(depth, pose[::-1], K, TO_EGO).min() > 5e-3


def test_motion_towards_a_wall_that_stands_still_in_the_picture_is_what_the_logarithm_says():
    """One that is driven at by 1 m a frame, and always told as 20 m away: log(20 / 19)."""
    pose = np.zeros((3, 7))
    pose[:, 0], pose[:, 3] = np.arange(3), 1
    assert depth_consistency(np.full((3, 48, 64), 20.0), pose, K, TO_EGO) == pytest.approx(np.log(20 / 19))
    assert depth_consistency(np.full((3, 48, 64), 2.0), pose, K, TO_EGO, scale=10.0) == pytest.approx(np.log(20 / 19))


def test_what_a_frame_hides_behind_its_own_points_is_not_asked_for():
    """A post at 4 m before a wall at 40 m, passed sideways: its own points cover the wall's, which the next frame cannot show."""
    pose = np.zeros((2, 7))
    pose[:, 3], pose[1, 1] = 1, -0.6
    depth = np.full((2, 48, 64), 40.0)
    depth[0, :, 20:30] = 4.0
    depth[1, :, 11:21] = 4.0  # 60 * 0.6 / 4 = 9 pixels on
    hidden = depth_consistency(depth, pose, K, TO_EGO).item()
    assert hidden < 0.06, "without the z-buffer 8 of 64 columns would each miss by log 10"


def test_true_depth_along_the_true_way_is_nearly_one_scene_through_any_camera():
    for camera in ("front", "left"):
        assert drive(camera).error() < 0.025


def test_wrong_ways_are_the_worse_the_more_they_are_wrong():
    true = drive()
    ways = []
    for yaw in (0.0, 0.01, 0.03, 0.1):  # rad a frame
        angle = yaw * np.arange(10)
        turn = np.tile(np.eye(4), (10, 1, 1))
        turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
        turn[:, 1, 0] = np.sin(angle)
        turn[:, 0, 1] = -turn[:, 1, 0]
        ways.append(pose_of(matrix_of(true.pose) @ turn))
    errors = [true.error(pose=way) for way in ways]
    assert errors == sorted(errors) and errors[-1] > 5 * errors[0]
    speeds = []
    for factor in (1.0, 2.0, 4.0):
        pose = true.pose.copy()
        pose[:, :3] = pose[:1, :3] + factor * (pose[:, :3] - pose[:1, :3])
        speeds.append(true.error(pose=pose))
    assert speeds == sorted(speeds) and speeds[-1] > 2 * speeds[0]
    assert true.error(pose=true.pose[::-1]) > 2 * true.error()


def test_depth_that_flickers_or_comes_in_another_order_is_the_worse_the_more_it_does():
    true = drive()
    shuffled = true.depth[np.random.default_rng(1).permutation(10)]
    swapped = true.depth.reshape(5, 2, 64, 128)[:, ::-1].reshape(10, 64, 128)
    assert true.error() < true.error(swapped) < true.error(shuffled)
    jitter = np.random.default_rng(0).standard_normal(10)[:, None, None]
    errors = [true.error(true.depth * np.exp(size * jitter)) for size in (0.0, 0.03, 0.1, 0.3)]
    assert errors == sorted(errors)


def test_a_frozen_video_is_no_scene_that_is_driven_through():
    true = drive()
    assert true.error(np.repeat(true.depth[:1], 10, axis=0)) > 1.5 * true.error()


def test_one_factor_of_the_whole_clip_is_found_and_then_does_not_matter():
    true = drive()
    found = depth_scale(true.depth / 3, true.pose, true.intrinsics, true.to_ego)
    assert found == pytest.approx(3, rel=0.15)
    assert true.error(true.depth / 3, scale=found) < 1.1 * true.error() < true.error(true.depth / 3)
    assert depth_scale(true.depth, true.pose[:1].repeat(10, axis=0), true.intrinsics, true.to_ego) == 1


def test_a_pose_that_is_unknown_leaves_no_error_next_to_it_and_no_scale():
    true = drive()
    pose = true.pose.copy()
    pose[4] = np.nan
    errors = depth_consistency(true.depth, pose, true.intrinsics, true.to_ego)
    assert np.isnan(errors).tolist() == [False] * 3 + [True] * 2 + [False] * 4
    nowhere = np.full((10, 7), np.nan)
    assert np.isnan(depth_consistency(true.depth, nowhere, true.intrinsics, true.to_ego)).all()
    assert depth_scale(true.depth, nowhere, true.intrinsics, true.to_ego) == 1
    assert np.isnan(depth_consistency(np.full((2, 48, 64), np.inf), pose[:2], K, TO_EGO)).all()


def test_flicker_is_nothing_for_frozen_video_and_rises_with_flicker_whatever_the_unit():
    true = drive()
    depth = true.depth.clip(max=160)
    assert depth_flicker(depth[:1].repeat(3, axis=0), true.frames[:1].repeat(3, axis=0)).tolist() == [0, 0]
    jitter = np.random.default_rng(0).standard_normal(10)[:, None, None]
    errors = [depth_flicker(depth * np.exp(size * jitter), true.frames).mean() for size in (0.0, 0.05, 0.2)]
    assert errors == sorted(errors) and errors[1] > 1.2 * errors[0]
    np.testing.assert_allclose(depth_flicker(7 * depth, true.frames), depth_flicker(depth, true.frames), rtol=1e-3)
