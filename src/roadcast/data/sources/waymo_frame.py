"""What both editions of the Waymo Open Dataset share: names, frames of reference, range images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roadcast.data.geometry import inverse, matrix_of, moved
from roadcast.data.intake.pictures import decode_picture
from roadcast.data.sources.base import Images, Signal, Times
from roadcast.data.sources.motion import motion_signals, near_origin

CAMERAS = {1: "front", 2: "front_left", 3: "front_right", 4: "side_left", 5: "side_right"}
LIDARS = {1: "lidar_top", 2: "lidar_front", 3: "lidar_side_left", 4: "lidar_side_right", 5: "lidar_rear"}
CLASSES = ("unknown", "vehicle", "pedestrian", "sign", "cyclist")
LIDAR_FIELDS = ("x", "y", "z", "intensity")
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")
PERIOD_NS = 100_000_000
SWEEP_MIDDLE_NS = 50_000_000
"""A frame's time is the start of the top LiDAR's turn of 0.1 s; points and boxes are as at the pose in its middle."""

TO_WAYMO_CAMERA = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From a camera's axes x right, y down, z forward to Waymo's x forward, y left, z up."""


def camera_entry(intrinsic: np.ndarray, extrinsic: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Calibration of a camera; intrinsic [9]: f_u f_v c_u c_v k1 k2 p1 p2 k3, where pixel 0 begins at 0 and not at -0.5."""
    fu, fv, cu, cv = intrinsic[:4]
    return {
        "intrinsics": [[fu, 0.0, cu - 0.5], [0.0, fv, cv - 0.5], [0.0, 0.0, 1.0]],
        "distortion": list(intrinsic[4:9]),
        "to_ego": (np.reshape(extrinsic, (4, 4)) @ TO_WAYMO_CAMERA).tolist(),
        "height": height,
        "width": width,
    }


def shutter_middle(trigger: float | None, done: float | None, pose_time: float) -> int:
    """When the middle of a picture was taken, ns: half-way through its rolling shutter, or the pose's time if that is unknown."""
    return round(((trigger + done) / 2 if trigger and done else pose_time) * 1e9)


def signals_of(t_ns: np.ndarray, poses: np.ndarray, velocity: np.ndarray, turning: np.ndarray) -> dict[str, Signal]:
    """Signals from the vehicle's poses [N, 4, 4], and its velocity and angular velocity [N, 3] along the world's axes.

    The world's origin is moved to the first pose, so that float32 holds millimetres.
    """
    order = np.argsort(t_ns, kind="stable")
    t_ns, poses = t_ns[order], poses[order].astype(np.float64)
    to_ego = poses[:, :3, :3].swapaxes(1, 2)
    velocity, turning = (np.einsum("nij,nj->ni", to_ego, along[order]) for along in (velocity, turning))
    return {"ego_pose": Signal.of(t_ns, near_origin(poses)), **motion_signals(t_ns, velocity, turning)}


def points_of(
    image: np.ndarray,
    inclination: np.ndarray,
    extrinsic: np.ndarray,
    pixel_pose: np.ndarray | None = None,
    frame_pose: np.ndarray | None = None,
) -> np.ndarray:
    """The points of a range image, float32 [P, 4]: x y z (m, the LiDAR's own frame) and intensity, cut off at 1.

    image         [H, W, 4]: range (m; 0 or less is none), intensity, elongation, no-label zone; azimuth falls from left to right
    inclination   rad, of every row from the lowest up [H], or the least and the greatest [2]
    extrinsic     4x4, LiDAR to vehicle
    pixel_pose    [H, W, 6]: roll, pitch, yaw, x, y, z of the vehicle in the world at each pixel; with `frame_pose` 4x4, the
                  vehicle's at the frame, points are brought to where they were seen at that one time
    """
    height, width = image.shape[:2]
    if len(inclination) != height:
        low, high = inclination[0], inclination[-1]
        inclination = low + (np.arange(height) + 0.5) / height * (high - low)
    row, column = np.nonzero(image[..., 0] > 0)
    r = image[row, column, 0].astype(np.float64)
    pitch = inclination[::-1][row]
    azimuth = ((width - column - 0.5) / width * 2 - 1) * np.pi - np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    points = np.stack([np.cos(azimuth) * np.cos(pitch), np.sin(azimuth) * np.cos(pitch), np.sin(pitch)], 1) * r[:, None]
    if pixel_pose is not None and frame_pose is not None:
        world = matrix_of(_pose_of_angles(pixel_pose[row, column].astype(np.float64))) @ extrinsic
        points = np.einsum("nij,nj->ni", world[:, :3, :3], points) + world[:, :3, 3]
        points = moved(points, inverse(frame_pose @ extrinsic))
    return np.concatenate([points, np.clip(image[row, column, 1:2], 0, 1)], 1).astype(np.float32)


def moment_of(
    numbers: Sequence[int], times: dict[int, int], jpegs: Mapping[int, bytes | memoryview | None]
) -> tuple[Times, Images | None]:
    """The times and pictures of the cameras `numbers` at one moment; no pictures where one is missing or unreadable."""
    images = [image for number in numbers if (image := _decode(jpegs.get(number))) is not None]
    if len(images) < len(numbers):
        return min(times.values()), None
    taken = [times[number] for number in numbers]
    return (tuple(taken), tuple(images)) if len(numbers) > 1 else (taken[0], images[0])


def _decode(jpeg: bytes | memoryview | None) -> np.ndarray | None:
    return decode_picture(bytes(jpeg)) if jpeg else None


def _pose_of_angles(pose: np.ndarray) -> np.ndarray:
    """Poses [N, 7] of [N, 6] roll pitch yaw (turned about z by yaw, then y, then x) and x y z."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(pose[:, :3].T / 2), np.sin(pose[:, :3].T / 2)
    quaternion = (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )
    return np.concatenate([pose[:, 3:], np.stack(quaternion, 1)], 1)
