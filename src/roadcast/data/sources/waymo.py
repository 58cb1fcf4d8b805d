"""Waymo Open Dataset, perception: version 2 (parquet tables) and version 1 (TFRecord files)."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.sources import waymo_tfrecord
from roadcast.data.sources.base import Frames, Recording, Sensor, unreadable
from roadcast.data.sources.forward import Forward
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
from roadcast.optional import load_extra

TIME, CAMERA, LASER = "key.frame_timestamp_micros", "key.camera_name", "key.laser_name"
SHOT = "[CameraImageComponent]."
SHOT_COLUMNS = (
    TIME, CAMERA, SHOT + "pose.transform", SHOT + "pose_timestamp",
    SHOT + "rolling_shutter_params.camera_trigger_time", SHOT + "rolling_shutter_params.camera_readout_done_time",
    *(f"{SHOT}velocity.{kind}_velocity.{axis}" for kind in ("linear", "angular") for axis in "xyz"),
)  # fmt: skip
LENS = "[CameraCalibrationComponent]."
LENS_COLUMNS = tuple(f"{LENS}intrinsic.{name}" for name in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3"))
TILT = "[LiDARCalibrationComponent].beam_inclination."
MOUNT = "[LiDARCalibrationComponent].extrinsic.transform"
RANGES = tuple(f"[LiDARComponent].range_image_return{n}." for n in (1, 2))
PIXEL_POSE = "[LiDARPoseComponent].range_image_return1."
POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
BOX = "[LiDARBoxComponent]."
BOX_COLUMNS = (
    *(f"{BOX}box.center.{axis}" for axis in "xyz"),
    *(f"{BOX}box.size.{axis}" for axis in "xyz"),
    f"{BOX}box.heading",
    f"{BOX}type",
)


def is_waymo(path: Path) -> bool:
    """Whether `path` is a .tfrecord file, a folder of such, or a folder of version 2's tables (camera_image/ and others)."""
    if path.is_file():
        return path.suffix == ".tfrecord"
    return any((path / "camera_image").glob("*.parquet")) or any(path.glob("*.tfrecord"))


class WaymoSource:
    """One recording a segment of 20 s: five cameras at 10 Hz, five LiDARs, boxes, ego pose and motion; no pedals or wheel.

    Each camera's time is the middle of its rolling shutter. Poses are those at the pictures; LiDAR points are as seen from
    the vehicle's pose in the middle of the turn, where the set has a pose for every pixel.
    """

    def __init__(self, path: Path):
        tables = path / "camera_image"
        self.path = path
        self.files = [path] if path.is_file() else sorted([*tables.glob("*.parquet"), *path.glob("*.tfrecord")])
        first = self.files[0]
        of = _cameras_of if first.suffix == ".parquet" else waymo_tfrecord.cameras_of
        self.cameras: tuple[str, ...] = of(first)

    def recordings(self) -> Iterator[Recording]:
        for file in self.files:
            try:
                if file.suffix == ".parquet":
                    yield _Tables(self.path, file.name, self.cameras).recording()
                else:
                    yield waymo_tfrecord.read_segment(file, self.cameras)
            except UserError as error:
                yield unreadable(file.stem, file.name, error)


def _parquet() -> Any:
    return load_extra("parquet", "reading Waymo's version 2")


def _cameras_of(path: Path) -> tuple[str, ...]:
    there = set(_parquet().read_columns(path, [CAMERA])[CAMERA])
    return tuple(name for number, name in CAMERAS.items() if number in there)


class _Tables:
    """One segment's tables, one file each in the folders of `root`; only camera_image has to be there."""

    def __init__(self, root: Path, name: str, cameras: tuple[str, ...]):
        self.root, self.name = root, name
        self.numbers = [number for number, camera in CAMERAS.items() if camera in cameras]
        self.parquet = _parquet()

    def recording(self) -> Recording:
        shots = self.parquet.read_columns(self._file("camera_image"), SHOT_COLUMNS)
        trigger, done = (
            shots[f"{SHOT}rolling_shutter_params.camera_{name}_time"] for name in ("trigger", "readout_done")
        )
        pose_times = shots[f"{SHOT}pose_timestamp"]
        self.shots: dict[int, dict[int, int]] = defaultdict(dict)
        for n, (micros, camera) in enumerate(zip(shots[TIME], shots[CAMERA], strict=True)):
            if camera in self.numbers:
                self.shots[micros][camera] = shutter_middle(trigger[n], done[n], pose_times[n])
        moving = [[shots[f"{SHOT}velocity.{kind}_velocity.{a}"] for a in "xyz"] for kind in ("linear", "angular")]
        signals = signals_of(
            np.rint(np.array(pose_times) * 1e9).astype(np.int64),
            np.array(shots[f"{SHOT}pose.transform"]).reshape(-1, 4, 4),
            *np.array(moving, np.float64).swapaxes(1, 2),
        )
        calibration: dict[str, Any] = self._cameras()
        sensors = {}
        if self._has("lidar_calibration") and self._has("lidar"):
            sensors |= self._lidars(calibration)
        if self._has("lidar_box"):
            sensors["boxes"] = self._boxes()
            calibration["boxes"] = {"to_ego": np.eye(4).tolist()}
        name = Path(self.name).stem
        return Recording(
            name, self.name, self._frames, signals, calibration=calibration, sensors=sensors, period_ns=PERIOD_NS,
        )  # fmt: skip

    def _file(self, table: str) -> Path:
        return self.root / table / self.name

    def _has(self, table: str) -> bool:
        return self._file(table).is_file()

    def _cameras(self) -> dict[str, Any]:
        if not self._has("camera_calibration"):
            return {}
        columns = (CAMERA, *LENS_COLUMNS, f"{LENS}extrinsic.transform", f"{LENS}height", f"{LENS}width")
        table = self.parquet.read_columns(self._file("camera_calibration"), columns)
        return {
            CAMERAS[number]: camera_entry(
                np.array([table[column][n] for column in LENS_COLUMNS]),
                np.array(table[f"{LENS}extrinsic.transform"][n]),
                table[f"{LENS}height"][n],
                table[f"{LENS}width"][n],
            )
            for n, number in enumerate(table[CAMERA])
            if number in self.numbers
        }

    def _frames(self) -> Frames:
        """Moments in the order of time, each as soon as the file has given all its pictures."""
        waiting: dict[int, dict[int, bytes]] = defaultdict(dict)
        moments = iter(sorted(self.shots))
        micros = next(moments, None)
        for row in self.parquet.read_rows(self._file("camera_image"), (TIME, CAMERA, SHOT + "image")):
            if row[CAMERA] in self.numbers:
                waiting[row[TIME]][row[CAMERA]] = row[SHOT + "image"]
            while micros is not None and waiting[micros].keys() == self.shots[micros].keys():
                yield moment_of(self.numbers, self.shots[micros], waiting.pop(micros))
                micros = next(moments, None)

    def _lidars(self, calibration: dict[str, Any]) -> dict[str, Sensor]:
        """The LiDARs as sensors; what is known of each is added to `calibration`."""
        told = self.parquet.read_columns(
            self._file("lidar_calibration"), (LASER, MOUNT, TILT + "min", TILT + "max", TILT + "values")
        )
        rows = self.parquet.read_columns(self._file("lidar"), (TIME, LASER))
        frame_poses: dict[int, np.ndarray] = {}
        if self._has("vehicle_pose"):
            poses = self.parquet.read_columns(self._file("vehicle_pose"), (TIME, POSE))
            frame_poses = {
                m: np.array(p, np.float64).reshape(4, 4) for m, p in zip(poses[TIME], poses[POSE], strict=True)
            }
        sensors = {}
        for n, number in enumerate(told[LASER]):
            places = sorted(
                (m, row) for row, (m, k) in enumerate(zip(rows[TIME], rows[LASER], strict=True)) if k == number
            )
            if number not in LIDARS or not places:
                continue
            mount = np.array(told[MOUNT][n], np.float64).reshape(4, 4)
            tilt = np.array(told[TILT + "values"][n] or [told[TILT + "min"][n], told[TILT + "max"][n]])
            calibration[LIDARS[number]] = {"to_ego": mount.tolist()}
            times = np.array([micros * 1000 + SWEEP_MIDDLE_NS for micros, _ in places], np.int64)
            read = self._reader(number, places, tilt, mount, frame_poses)
            sensors[LIDARS[number]] = Sensor("lidar", LIDAR_FIELDS, times, read)
        return sensors

    def _reader(
        self,
        number: int,
        places: list[tuple[int, int]],
        tilt: np.ndarray,
        mount: np.ndarray,
        frame_poses: dict[int, np.ndarray],
    ) -> Callable[[int], np.ndarray | None]:
        columns = [prefix + part for prefix in RANGES for part in ("values", "shape")]
        ranges = Forward(lambda: self.parquet.read_rows(self._file("lidar"), columns))
        pixel_rows: dict[int, int] = {}
        if frame_poses and self._has("lidar_pose"):
            keys = self.parquet.read_columns(self._file("lidar_pose"), (TIME, LASER))
            pixel_rows = {m: n for n, (m, k) in enumerate(zip(keys[TIME], keys[LASER], strict=True)) if k == number}
        poses = Forward(
            lambda: self.parquet.read_rows(self._file("lidar_pose"), [PIXEL_POSE + p for p in ("values", "shape")])
        )

        def read(n: int) -> np.ndarray | None:
            micros, at = places[n]
            row = ranges(at)
            pixel_pose = _image(poses(pixel_rows[micros]), PIXEL_POSE) if micros in pixel_rows else None
            images = [_image(row, prefix) for prefix in RANGES]
            frame_pose = frame_poses.get(micros)
            clouds = [points_of(image, tilt, mount, pixel_pose, frame_pose) for image in images if image is not None]
            return np.concatenate(clouds) if clouds else None

        return read

    def _boxes(self) -> Sensor:
        columns = (TIME, "key.laser_object_id", *BOX_COLUMNS)
        table = self.parquet.read_columns(self._file("lidar_box"), columns)
        values = np.array([table[column] for column in BOX_COLUMNS], np.float32).T
        track = np.array([waymo_tfrecord.track_of(name) for name in table["key.laser_object_id"]], np.float32)
        micros = np.array(table[TIME], np.int64)
        times = np.unique(micros)
        rows = np.concatenate([values, track[:, None]], 1)
        return Sensor(
            "boxes", BOX_FIELDS, times * 1000 + SWEEP_MIDDLE_NS, lambda n: rows[micros == times[n]], classes=CLASSES
        )


def _image(row: dict[str, Any], prefix: str) -> np.ndarray | None:
    values, shape = row[prefix + "values"], row[prefix + "shape"]
    return None if values is None or not len(values) else np.asarray(values, np.float32).reshape(shape)
