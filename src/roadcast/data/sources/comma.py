"""comma2k19: minutes of driving as a raw video, and logs as numpy arrays of times and values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.geometry import matrix_of, pose_of
from roadcast.data.intake.decode import read_video
from roadcast.data.sources.base import Recording, Signal, unreadable
from roadcast.data.sources.motion import motion_signals, without_gravity
from roadcast.errors import UserError

RATE = 20.0
STEER_LOCK_DEG = 450.0
"""Taken for the turn of the wheel at which steer is 1; about the full lock of the Civic and the RAV4."""
MOVING = 5.0
"""Above this speed in m/s the car is taken to go where it points, which tells how the camera is mounted."""
FLIP = np.diag([1.0, -1.0, -1.0])
"""From forward, right, down to forward, left, up; and back."""
FROM_CAMERA = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""From a camera's axes x right, y down, z forward to forward, left, up."""
INTRINSICS = ((910.0, 0.0, 581.5), (0.0, 910.0, 436.5), (0.0, 0.0, 1.0))
"""Of the EON's 1164x874 pictures, as its makers give them, with centres of pixels at whole numbers."""
FLATTENING_TERM = 1.00673949674228
"""Square of the axes' ratio a / b of the Earth's ellipsoid, WGS 84."""


def is_comma(path: Path) -> bool:
    """Whether `path` is a segment of comma2k19, or a folder that holds segments, routes or chunks of it."""
    return any(True for _ in _segments(path))


class CommaSource:
    """One recording a route: its segments follow one another on one clock, so that no minute is split from the next.

    Frames have the times of global_pose/frame_times (boot time, s). The ego frame is at the camera, as the car's axle is not
    known, but turned so that x is the way the car goes: `to_ego` holds the camera's pitch and yaw found from that.
    """

    cameras: tuple[str, ...] = ("front",)

    def __init__(self, path: Path):
        routes: dict[Path, list[Path]] = {}
        for segment in _segments(path):
            routes.setdefault(segment.resolve().parent, []).append(segment)
        self.routes = {
            _name(route): sorted(segments, key=lambda p: (len(p.name), p.name)) for route, segments in routes.items()
        }

    def recordings(self) -> Iterator[Recording]:
        for name, segments in sorted(self.routes.items()):
            try:
                yield _recording(name, segments)
            except UserError as error:
                yield unreadable(name, name, error)


def _segments(path: Path) -> Iterator[Path]:
    for depth in ("processed_log", "*/processed_log", "*/*/processed_log", "*/*/*/processed_log"):
        yield from (log.parent for log in sorted(path.glob(depth)) if log.is_dir())


def _name(route: Path) -> str:
    return route.name.replace("|", "_")


def _recording(name: str, segments: list[Path]) -> Recording:
    times = {segment: _times(segment) for segment in segments}
    pose = {
        what: _joined(segments, f"global_pose/frame_{what}") for what in ("positions", "velocities", "orientations")
    }
    frame_ns = np.concatenate(list(times.values()))
    for what, values in pose.items():
        if len(values) != len(frame_ns):
            raise UserError(
                f"{segments[0]}: global_pose/frame_{what} has not one row a frame_times ({len(values)}, {len(frame_ns)}); "
                "copy the segments again"
            )
    turn = _rotations(pose["orientations"])
    velocity = np.einsum("nji,nj->ni", turn, pose["velocities"]) @ FLIP
    mount = _mount(velocity)
    signals = _pose_signals(frame_ns, pose["positions"], turn, velocity, mount)
    signals |= _log_signals(segments, mount, signals)

    def frames() -> Iterator[tuple[int, np.ndarray | None]]:
        for segment in segments:
            decoded = 0
            for (_, image), t_ns in zip(read_video(segment / "video.hevc", RATE), times[segment].tolist()):
                yield t_ns, image
                decoded += 1
            if decoded < len(times[segment]):
                raise UserError(
                    f"{segment / 'video.hevc'}: {decoded} frames decoded of {len(times[segment])} that frame_times names, so it "
                    "is cut short or damaged; copy it again, or remove the segment"
                )

    to_ego = np.eye(4)
    to_ego[:3, :3] = mount @ FROM_CAMERA
    calibration = {"front": {"intrinsics": [list(row) for row in INTRINSICS], "to_ego": to_ego.tolist()}}
    return Recording(name, name, frames, signals, calibration=calibration, period_ns=round(1e9 / RATE))


def _times(segment: Path) -> np.ndarray:
    if not (segment / "video.hevc").is_file():
        raise UserError(f"{segment / 'video.hevc'}: is missing; copy it again, or remove the segment")
    return np.rint(_load(segment, "global_pose/frame_times") * 1e9).astype(np.int64)


def _joined(segments: list[Path], name: str) -> np.ndarray:
    return np.concatenate([_load(segment, name) for segment in segments])


def _load(segment: Path, name: str) -> np.ndarray:
    path = segment / name
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be read as a numpy array ({error}); copy it again, or remove the segment"
        ) from None


def _rotations(quaternions: np.ndarray) -> np.ndarray:
    """From the camera's forward, right, down to the Earth's axes [N, 3, 3], from quaternions w x y z."""
    return matrix_of(np.concatenate([np.zeros((len(quaternions), 3)), quaternions], 1))[:, :3, :3]


def _mount(velocity: np.ndarray) -> np.ndarray:
    """The rotation from the camera's forward, left, up to the ego's, in which the car's way [N, 3] is forward: no roll."""
    speed = np.linalg.norm(velocity, axis=1)
    if not (moving := velocity[speed > MOVING]).size:
        return np.eye(3)
    x = np.median(moving / speed[speed > MOVING, None], axis=0)
    x /= np.linalg.norm(x)
    y = np.cross([0.0, 0.0, 1.0], x)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)])


def _pose_signals(
    frame_ns: np.ndarray, positions: np.ndarray, turn: np.ndarray, velocity: np.ndarray, mount: np.ndarray
) -> dict[str, Signal]:
    """The ego's pose in axes east, north, up at the first frame, and its velocity; positions and `turn` are of the Earth's axes."""
    up = positions[0] * (1, 1, FLATTENING_TERM)
    up /= np.linalg.norm(up)
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= np.linalg.norm(east)
    local = np.stack([east, np.cross(up, east), up])
    matrices = np.tile(np.eye(4), (len(frame_ns), 1, 1))
    matrices[:, :3, :3] = local @ turn @ FLIP @ mount.T
    matrices[:, :3, 3] = (positions - positions[0]) @ local.T
    return {"ego_pose": Signal.of(frame_ns, pose_of(matrices)), "velocity": Signal.of(frame_ns, velocity @ mount.T)}


def _log_signals(segments: list[Path], mount: np.ndarray, motion: dict[str, Signal]) -> dict[str, Signal]:
    """What the car and the device logged, at times at which `motion` is known: a log that no segment has is left out."""
    signals: dict[str, Signal] = {}
    if (speed := _log(segments, "CAN/speed")) is not None:
        signals["speed"] = Signal.of(speed[0], speed[1].reshape(-1))
    if (angle := _log(segments, "CAN/steering_angle")) is not None:
        signals["steer"] = Signal.of(angle[0], np.clip(angle[1].reshape(-1) / STEER_LOCK_DEG, -1, 1))
    if (gyro := _log(segments, "IMU/gyro")) is not None:
        forward = motion["velocity"].at(gyro[0])
        known = np.isfinite(forward).all(1)
        felt = motion_signals(gyro[0][known], forward[known], (gyro[1] @ FLIP @ mount.T)[known])
        signals |= {name: felt[name] for name in ("angular_velocity", "yaw_rate", "curvature") if name in felt}
    if (force := _log(segments, "IMU/accelerometer")) is not None:
        poses = motion["ego_pose"].at(force[0])
        known = np.isfinite(poses).all(1)
        pushed = without_gravity((force[1] @ FLIP @ mount.T)[known], matrix_of(poses[known]))
        signals["linear_acceleration"] = Signal.of(force[0][known], pushed)
        signals["acceleration"] = Signal.of(force[0][known], pushed[:, 0])
    for receiver in ("GNSS/live_gnss_ublox", "GNSS/live_gnss_qcom"):
        if "gps" not in signals and (fix := _log(segments, receiver)) is not None and len(fix[0]):
            signals["gps"] = Signal.of(fix[0], fix[1][:, [0, 1, 4]])
    return signals


def _log(segments: list[Path], name: str) -> tuple[np.ndarray, Any] | None:
    """Times in ns and values of a log, of all segments that have it."""
    having = [s for s in segments if (s / "processed_log" / name / "t").is_file()]
    if not having:
        return None
    t, values = (_joined(having, f"processed_log/{name}/{part}") for part in ("t", "value"))
    if len(t) != len(values):
        raise UserError(
            f"{having[0] / 'processed_log' / name}: {len(t)} times but {len(values)} values; copy the segments again"
        )
    return np.rint(t * 1e9).astype(np.int64), values
