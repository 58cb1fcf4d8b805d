"""Waymo Open Dataset, perception, version 1: one TFRecord file a segment, one `Frame` message a record.

Field numbers are those of waymo_open_dataset/dataset.proto and label.proto.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.sources.base import Frames, Recording, Sensor
from roadcast.data.sources.protobuf import Message
from roadcast.data.sources.tfrecord import RecordFile
from roadcast.data.sources.waymo_frame import (
    BOX_FIELDS,
    CAMERAS,
    CLASSES,
    LIDAR_FIELDS,
    LIDARS,
    PERIOD_NS,
    SWEEP_MIDDLE_NS,
    camera_entry,
    moment_of,
    points_of,
    shutter_middle,
    signals_of,
)
from roadcast.errors import UserError


def cameras_of(path: Path) -> tuple[str, ...]:
    """The cameras of the first frame."""
    with _told(path, 0):
        names = {shot.integer(1) for shot in Message(RecordFile(path).peek(0)).messages(4)}
    return tuple(name for number, name in CAMERAS.items() if number in names)


def read_segment(path: Path, cameras: tuple[str, ...]) -> Recording:
    """The recording in one file; its pictures and points are read when they are asked for."""
    file = RecordFile(path)
    rows = [_row(path, n, file.peek(n)) for n in range(len(file))]
    order = sorted(range(len(rows)), key=lambda n: rows[n]["t_ns"])
    with _told(path, 0):
        context = Message(file.peek(0)).message(1)
        calibration, lidars = _calibration(context)
    numbers = [number for number, camera in CAMERAS.items() if camera in cameras]
    times = [rows[n]["t_ns"] + SWEEP_MIDDLE_NS for n in order]
    shots = [shot for n in order for shot in rows[n]["shots"].values()]
    if not shots:
        raise UserError(
            f"{path}: its frames hold no picture, so it is no segment of Waymo's perception set with cameras"
        )

    def record(n: int) -> Message:
        with _told(path, order[n]):
            return Message(file.read(order[n]))

    def frames() -> Frames:
        for n, at in enumerate(order):
            jpegs = {shot.integer(1): shot.data(2) for shot in record(n).messages(4)}
            times = {number: shot["t_ns"] for number, shot in rows[at]["shots"].items()}
            yield moment_of(numbers, times or {0: rows[at]["t_ns"]}, jpegs)

    sensors = {
        name: Sensor("lidar", LIDAR_FIELDS, np.array(times, np.int64), _lidar(path, record, number, lidars[number]))
        for number, name in LIDARS.items()
        if number in lidars and number in rows[order[0]]["lidars"]
    }
    if any(rows[n]["boxes"] for n in order):
        sensors["boxes"] = Sensor(
            "boxes", BOX_FIELDS, np.array(times, np.int64), lambda n: _boxes(record(n)), classes=CLASSES
        )
    calibration = {name: told for name, told in calibration.items() if name in cameras or name in sensors}
    signals = signals_of(
        np.array([shot["pose_ns"] for shot in shots]),
        np.array([shot["pose"] for shot in shots]),
        *np.array([shot["velocity"] for shot in shots]).swapaxes(0, 1),
    )
    name = context.text(1) or path.stem
    return Recording(
        name, path.name, frames, signals, calibration=calibration, sensors=sensors, period_ns=PERIOD_NS,
    )  # fmt: skip


def _row(path: Path, n: int, data: memoryview) -> dict[str, Any]:
    """What is kept of a frame: its time, its pictures' times and poses by camera, whether it has boxes, and which LiDARs."""
    with _told(path, n):
        frame = Message(data)
        shots = {shot.integer(1): _shot(shot) for shot in frame.messages(4) if shot.integer(1) in CAMERAS}
        lidars = {laser.integer(1) for laser in frame.messages(5)}
        return {"t_ns": frame.integer(2) * 1000, "shots": shots, "boxes": frame.has(6), "lidars": lidars}


def _shot(shot: Message) -> dict[str, Any]:
    moving, pose_time = shot.message(4), shot.double(5) or 0.0
    return {
        "t_ns": shutter_middle(shot.double(7), shot.double(8), pose_time),
        "pose_ns": round(pose_time * 1e9),
        "pose": shot.message(3).doubles(1).reshape(4, 4),
        "velocity": ([moving.float32(f) for f in (1, 2, 3)], [moving.double(f) or 0.0 for f in (4, 5, 6)]),
    }


def _calibration(context: Message) -> tuple[dict[str, Any], dict[int, tuple[np.ndarray, np.ndarray]]]:
    """By name, all calibration; and by number, every LiDAR's inclinations and 4x4 extrinsic."""
    entries: dict[str, Any] = {}
    for camera in context.messages(2):
        if camera.integer(1) in CAMERAS:
            entries[CAMERAS[camera.integer(1)]] = camera_entry(
                camera.doubles(2), camera.message(3).doubles(1), camera.integer(5), camera.integer(4)
            )
    lidars = {}
    for laser in context.messages(3):
        if laser.integer(1) in LIDARS:
            extrinsic = laser.message(5).doubles(1).reshape(4, 4)
            rows = laser.doubles(2)
            lidars[laser.integer(1)] = (
                rows if len(rows) else np.concatenate([laser.doubles(3), laser.doubles(4)]),
                extrinsic,
            )
            entries[LIDARS[laser.integer(1)]] = {"to_ego": extrinsic.tolist()}
    entries["boxes"] = {"to_ego": np.eye(4).tolist()}
    return entries, lidars


def _lidar(
    path: Path, record: Callable[[int], Message], number: int, told: tuple[np.ndarray, np.ndarray]
) -> Callable[[int], np.ndarray | None]:
    def read(n: int) -> np.ndarray | None:
        frame = record(n)
        with _told(path, n):
            laser = next((laser for laser in frame.messages(5) if laser.integer(1) == number), None)
            if laser is None:
                return None
            pixel_pose = _matrix(laser.message(2).data(4))
            frame_pose = frame.message(3).doubles(1).reshape(4, 4)
            images = [_matrix(laser.message(field).data(2)) for field in (2, 3)]
            clouds = [points_of(image, *told, pixel_pose, frame_pose) for image in images if image is not None]
            return np.concatenate(clouds) if clouds else None

    return read


def _matrix(packed: memoryview | None) -> np.ndarray | None:
    """A zlib-compressed MatrixFloat, float32 in its shape."""
    if not packed:
        return None
    matrix = Message(memoryview(zlib.decompress(packed)))
    return matrix.floats(1).reshape(matrix.message(2).integers(1))


def _boxes(frame: Message) -> np.ndarray:
    rows = []
    for label in frame.messages(6):
        box = label.message(1)
        values = [box.double(field) or 0.0 for field in (1, 2, 3, 5, 4, 6, 7)]
        rows.append([*values, label.integer(3), track_of(label.text(4))])
    return np.array(rows, np.float32).reshape(-1, len(BOX_FIELDS))


def track_of(name: str) -> int:
    """A number by which a thing is known again, of 24 bits, which float32 holds."""
    return zlib.crc32(name.encode()) >> 8


@contextmanager
def _told(path: Path, n: int) -> Iterator[None]:
    try:
        yield
    except (ValueError, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: record {n} is no frame of Waymo's perception set ({error}); give files of that set, whole"
        ) from None
