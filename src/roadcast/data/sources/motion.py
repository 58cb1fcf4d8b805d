"""Signals of a car's motion, from what was measured or from its poses alone."""

import numpy as np

from roadcast.data.geometry import matrix_of, pose_of, relative
from roadcast.data.sources.base import Signal

GRAVITY = 9.81
MOVING = 1.0
"""Below this speed in m/s a curvature is not known."""


def motion_signals(
    t_ns: np.ndarray, velocity: np.ndarray, turning: np.ndarray, acceleration: np.ndarray | None = None
) -> dict[str, Signal]:
    """Velocity (m/s), angular velocity (rad/s) and acceleration without gravity (m/s2), all [N, 3] along the ego's axes, as signals.

    Curvature is yaw rate / speed, and unknown below MOVING.
    """
    speed, yaw_rate = velocity[:, 0], turning[:, 2]
    moving = np.abs(speed) > MOVING
    curvature = np.where(moving, yaw_rate / np.where(moving, speed, 1), np.nan)
    values = {"velocity": velocity, "speed": speed, "angular_velocity": turning, "yaw_rate": yaw_rate}
    values["curvature"] = curvature
    if acceleration is not None:
        values |= {"linear_acceleration": acceleration, "acceleration": acceleration[:, 0]}
    signals = {name: Signal.of(t_ns, column) for name, column in values.items()}
    return {name: signal for name, signal in signals.items() if len(signal.t_ns)}


def motion_of_poses(t_ns: np.ndarray, poses: np.ndarray) -> dict[str, Signal]:
    """The same, from poses [N, 7] at increasing times alone, by differences; nothing from fewer than two."""
    if len(t_ns) < 2:
        return {}
    seconds = (t_ns - t_ns[0]) / 1e9
    matrices = matrix_of(poses)
    velocity = np.einsum("nji,nj->ni", matrices[:, :3, :3], np.gradient(matrices[:, :3, 3], seconds, axis=0))
    middles, steps = (seconds[1:] + seconds[:-1]) / 2, np.diff(seconds)
    turns = _turn(relative(poses)[1:]) / steps[:, None]
    turning = np.stack([np.interp(seconds, middles, axis) for axis in turns.T], 1)
    world = np.einsum("nij,nj->ni", matrices[:, :3, :3], velocity)
    acceleration = np.einsum("nji,nj->ni", matrices[:, :3, :3], np.gradient(world, seconds, axis=0))
    return motion_signals(t_ns, velocity, turning, acceleration)


def without_gravity(felt: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """What an accelerometer felt along the ego's axes [N, 3], less gravity, with poses [N, 4, 4] in a world whose z is up."""
    return felt - GRAVITY * matrices[:, 2, :3]


def near_origin(matrices: np.ndarray) -> np.ndarray:
    """Matrices [N, 4, 4] as poses [N, 7], in a world moved (not turned) so that the first of them is at its origin."""
    moved = np.array(matrices, np.float64)
    moved[:, :3, 3] -= moved[0, :3, 3]
    return pose_of(moved)


def _turn(pose: np.ndarray) -> np.ndarray:
    """The rotation of small poses [N, 7] as vectors of angle times axis, rad [N, 3]."""
    length = np.linalg.norm(pose[:, 4:], axis=1, keepdims=True)
    angle = 2 * np.arctan2(length, pose[:, 3:4])
    return pose[:, 4:] * np.where(length > 1e-12, angle / np.maximum(length, 1e-12), 2.0)
