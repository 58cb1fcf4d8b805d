"""nuScenes v1.0: tables of JSON, six cameras, a LiDAR, five radars, boxes, and the CAN bus expansion if it is there."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.geometry import inverse, matrix_of
from roadcast.data.sources.base import Recording, Sensor, Signal, unreadable
from roadcast.data.sources.motion import motion_of_poses, motion_signals, near_origin, without_gravity
from roadcast.data.sources.pictures import camera_frames, nearest
from roadcast.data.sources.pointclouds import read_bin, read_pcd
from roadcast.errors import UserError

TABLES = ("scene", "sample", "sample_data", "calibrated_sensor", "sensor", "ego_pose")
CHUNK = 1 << 20
STEER_LOCK_RAD = np.radians(780.0)
"""The turn of the wheel at which steer is 1: the end of the range that the CAN bus can tell."""
THROTTLE_FULL, BRAKE_FULL = 1000.0, 126.0
"""The ends of the ranges of vehicle_monitor's throttle and brake."""
TURN_LIDAR = matrix_of(np.array([0, 0, 0, np.sqrt(0.5), 0, 0, -np.sqrt(0.5)]))
"""From the LiDAR's x right, y forward to our x forward, y left."""
RADAR_FIELDS = ("x", "y", "z", "vx", "vy", "rcs", "vx_comp", "vy_comp")
RADAR_STATES = ("invalid_state", "dyn_prop", "ambig_state")
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")


def is_nuscenes(path: Path) -> bool:
    """Whether `path` holds tables of nuScenes (v1.0-*/), or is such a folder of tables."""
    return any(True for _ in _versions(path))


class NuScenesSource:
    """One recording a scene: every picture of samples and sweeps, moments led by the front camera, others the nearest to it.

    The ego frame is nuScenes' own (the rear axle's middle, x forward, y left, z up). ego_pose is of all sensors' times, its
    world moved to the scene's first pose. With the CAN bus (can_bus/ beside the tables) velocity, angular velocity and
    acceleration are `pose`'s, steer is steeranglefeedback / 780 degrees (positive left already), throttle and brake those of
    vehicle_monitor over their ranges, 1000 and 126; without it motion is that of the front camera's ego poses.
    Radar points that nuScenes calls invalid or ambiguous are left out. Boxes are in the ego frame at the LiDAR's key frames.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        folders = sorted(_versions(path))
        if not folders:
            raise UserError(
                f"{path}: holds no tables of nuScenes; give the folder that has v1.0-trainval, v1.0-mini or v1.0-test"
            )
        self.tables = [_Tables(folder) for folder in folders]
        channels = {c for tables in self.tables for c in tables.channels.values() if c.startswith("CAM_")}
        if not channels:
            raise UserError(f"{folders[0] / 'sensor.json'}: names no camera; unpack the tables again")
        self.channels = sorted(channels, key=lambda channel: (channel != "CAM_FRONT", channel))
        self.cameras: tuple[str, ...] = tuple(_name(channel) for channel in self.channels)

    def recordings(self) -> Iterator[Recording]:
        for tables in self.tables:
            for token, scene in tables.scenes.items():
                try:
                    yield _recording(tables, token, self.channels)
                except UserError as error:
                    yield unreadable(scene["name"], tables.folder.name, error)


def _versions(path: Path) -> Iterator[Path]:
    for folder in (path, *path.glob("v1.0-*")):
        if all((folder / f"{name}.json").is_file() for name in ("scene", "sample_data", "calibrated_sensor")):
            yield folder


def _name(channel: str) -> str:
    return channel.removeprefix("CAM_").lower() if channel.startswith("CAM_") else channel.lower()


def _rows(file: Path, *fields: str) -> Iterator[tuple[Any, ...]]:
    """The `fields` of a table's rows, read a piece at a time: whole tables of millions of rows would not fit in memory."""
    decoder, text, at = json.JSONDecoder(), "", 0
    try:
        with open(file, encoding="utf-8") as table:
            while piece := table.read(CHUNK):
                text, at = text[at:] + piece, 0
                while (start := text.find("{", at)) >= 0:
                    try:
                        row, at = decoder.raw_decode(text, start)
                    except ValueError:
                        at = start
                        break
                    yield tuple(row[name] for name in fields)
                else:
                    at = len(text)
            if "{" in text[at:]:
                raise ValueError("it ends inside a row")
    except KeyError as error:
        raise UserError(f"{file}: a row lacks the field {error}; unpack the tables again") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as a table of JSON ({error}); unpack the tables again") from None


@dataclass
class _Shots:
    """What one sensor took in a scene, in the order of time."""

    t_ns: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    poses: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    """Of key frames the sample's token, else empty."""

    def sort(self) -> None:
        """By time; of two at one time the first stays."""
        order = sorted(range(len(self.t_ns)), key=lambda n: self.t_ns[n])
        order = [n for k, n in enumerate(order) if not k or self.t_ns[n] != self.t_ns[order[k - 1]]]
        for name in ("t_ns", "files", "mounts", "poses", "samples"):
            column = getattr(self, name)
            setattr(self, name, [column[n] for n in order])


class _Tables:
    """The tables of one version, as far as they are needed, by scene."""

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder.parent
        if missing := [name for name in TABLES if not (folder / f"{name}.json").is_file()]:
            raise UserError(
                f"{folder / missing[0]}.json: is missing; unpack all tables of {folder.name} into one folder"
            )
        scenes = _rows(folder / "scene.json", "token", "name", "description", "log_token")
        self.scenes = {token: {"name": name, "description": text, "log": log} for token, name, text, log in scenes}
        self.scene_of = dict(_rows(folder / "sample.json", "token", "scene_token"))
        self.channels: dict[str, str] = dict(_rows(folder / "sensor.json", "token", "channel"))
        mounts = _rows(
            folder / "calibrated_sensor.json", "token", "sensor_token", "translation", "rotation", "camera_intrinsic"
        )
        self.mounts = {token: (self.channels[sensor], [*place, *turn], k) for token, sensor, place, turn, k in mounts}
        log = folder / "log.json"
        self.places = dict(_rows(log, "token", "location")) if log.is_file() else {}
        self.shots: dict[str, dict[str, _Shots]] = {token: {} for token in self.scenes}
        for sample, t_us, file, mount, pose, key in _rows(
            folder / "sample_data.json",
            "sample_token", "timestamp", "filename", "calibrated_sensor_token", "ego_pose_token", "is_key_frame",
        ):  # fmt: skip
            mount = sys.intern(mount)
            if mount not in self.mounts or sample not in self.scene_of:
                raise UserError(
                    f"{folder / 'sample_data.json'}: {file}: its sample or calibrated_sensor is in no table; unpack the tables again"
                )
            shots = self.shots[self.scene_of[sample]].setdefault(self.mounts[mount][0], _Shots())
            shots.t_ns.append(t_us * 1000)
            shots.files.append(file)
            shots.mounts.append(mount)
            shots.poses.append(pose)
            shots.samples.append(sys.intern(sample) if key else "")
        for scene in self.shots.values():
            for shots in scene.values():
                shots.sort()
        self._number: dict[str, int] = {}
        numbers: list[float] = []
        for n, (token, place, turn) in enumerate(_rows(folder / "ego_pose.json", "token", "translation", "rotation")):
            self._number[token] = n
            numbers += [*place, *turn]
        self._poses = np.array(numbers, np.float64).reshape(-1, 7)
        self.boxes = self._boxes()

    def poses(self, tokens: list[str]) -> np.ndarray:
        """Ego poses [N, 4, 4] in the map's world."""
        try:
            return matrix_of(self._poses[[self._number[token] for token in tokens]])
        except KeyError as error:
            raise UserError(
                f"{self.folder / 'ego_pose.json'}: lacks the pose {error}; unpack the tables again"
            ) from None

    def _boxes(self) -> dict[str, list[tuple[Any, ...]]]:
        """By sample: place, size (width, length, height), turn, category and instance of its boxes."""
        needed = [self.folder / f"{name}.json" for name in ("sample_annotation", "instance", "category")]
        if not all(file.is_file() for file in needed):
            return {}
        names = dict(_rows(needed[2], "token", "name"))
        kinds = {token: names[category] for token, category in _rows(needed[1], "token", "category_token")}
        boxes: dict[str, list[tuple[Any, ...]]] = {}
        for sample, instance, *box in _rows(
            needed[0], "sample_token", "instance_token", "translation", "size", "rotation"
        ):
            boxes.setdefault(sample, []).append((*box, kinds[instance], instance))
        return boxes


def _recording(tables: _Tables, token: str, channels: list[str]) -> Recording:
    scene, shots = tables.scenes[token], tables.shots[token]
    name, notes = scene["name"], []
    if absent := [channel for channel in channels if channel not in shots]:
        raise UserError(
            f"{tables.folder / 'sample_data.json'}: {name} has no picture of {absent[0]}; ingest it with other cameras"
        )
    lead = shots[channels[0]]
    lead_ns = np.array(lead.t_ns, np.int64)
    matched = []
    for channel in channels:
        which = nearest(np.array(shots[channel].t_ns, np.int64), lead_ns)
        files = [tables.root / shots[channel].files[n] for n in which]
        matched.append(([shots[channel].t_ns[n] for n in which], files))
        if missing := sum(not file.is_file() for file in files):
            notes.append(
                f"{name}: {missing} of {len(files)} pictures of {channel} are missing, so it is cut there; unpack samples and sweeps"
            )
    if place := tables.places.get(scene["log"]):
        notes.append(f"{name}: {place}: {scene['description']}")
    calibration = {_name(c): _calibration(tables, name, c, shots[c], notes) for c in shots}
    sensors = {_name(c): _sensor(tables, c, shots[c]) for c in shots if c.startswith(("LIDAR", "RADAR"))}
    calibration = {
        key: told for key, told in calibration.items() if key in sensors or not key.startswith(("lidar", "radar"))
    }
    keyed = shots.get("LIDAR_TOP", lead)
    if tables.boxes:
        sensors["boxes"] = _boxes_of(tables, keyed)
        calibration["boxes"] = {"to_ego": np.eye(4).tolist()}
    return Recording(
        name, f"{tables.folder.name}/{name}", lambda: camera_frames(matched), _signals(tables, name, shots, lead, notes),
        calibration, notes=tuple(notes), sensors=sensors, period_ns=_period(lead_ns),
    )  # fmt: skip


def _period(t_ns: np.ndarray) -> int | None:
    return int(np.median(np.diff(t_ns))) if len(t_ns) > 1 else None


def _calibration(tables: _Tables, name: str, channel: str, shots: _Shots, notes: list[str]) -> dict[str, Any]:
    if len(set(shots.mounts)) > 1:
        notes.append(
            f"{name}: {channel} has {len(set(shots.mounts))} calibrations, of which the first was taken for all"
        )
    _, pose, intrinsics = tables.mounts[shots.mounts[0]]
    matrix = matrix_of(np.array(pose))
    if channel.startswith("LIDAR"):
        matrix = matrix @ inverse(TURN_LIDAR)
    return {**({"intrinsics": intrinsics} if intrinsics else {}), "to_ego": matrix.tolist()}


def _sensor(tables: _Tables, channel: str, shots: _Shots) -> Sensor:
    files = [tables.root / file for file in shots.files]
    t_ns = np.array(shots.t_ns, np.int64)

    def lidar(n: int) -> np.ndarray | None:
        points = read_bin(files[n], 5)
        if points is not None:
            points[:, :2] = np.stack([points[:, 1], -points[:, 0]], 1)
            points[:, 3] = (points[:, 3] / 255).clip(0, 1)
        return points

    def radar(n: int) -> np.ndarray | None:
        points = read_pcd(files[n], (*RADAR_FIELDS, *RADAR_STATES))
        if points is None:
            return None
        invalid, moving, ambiguous = points[:, len(RADAR_FIELDS) :].T
        return np.ascontiguousarray(points[(invalid == 0) & (moving < 7) & (ambiguous == 3), : len(RADAR_FIELDS)])

    if channel.startswith("LIDAR"):
        return Sensor("lidar", ("x", "y", "z", "intensity", "ring"), t_ns, lidar)
    return Sensor("radar", RADAR_FIELDS, t_ns, radar)


def _boxes_of(tables: _Tables, keyed: _Shots) -> Sensor:
    """The boxes of a scene at the key frames of `keyed`, in the ego frame of those times; a track is an instance."""
    keys = [n for n, sample in enumerate(keyed.samples) if sample]
    poses = tables.poses([keyed.poses[n] for n in keys])
    rows = [tables.boxes.get(keyed.samples[n], []) for n in keys]
    classes = sorted({box[3] for boxes in rows for box in boxes})
    tracks = {token: n for n, token in enumerate(dict.fromkeys(box[4] for boxes in rows for box in boxes))}

    def read(n: int) -> np.ndarray:
        out = np.zeros((len(rows[n]), len(BOX_FIELDS)), np.float32)
        for row, (place, (width, length, height), turn, kind, track) in zip(out, rows[n], strict=True):
            seen = inverse(poses[n]) @ matrix_of(np.array([*place, *turn]))
            yaw = np.arctan2(seen[1, 0], seen[0, 0])
            row[:] = *seen[:3, 3], length, width, height, yaw, classes.index(kind), tracks[track]
        return out

    return Sensor("boxes", BOX_FIELDS, np.array([keyed.t_ns[n] for n in keys], np.int64), read, tuple(classes))


def _signals(tables: _Tables, name: str, shots: dict[str, _Shots], lead: _Shots, notes: list[str]) -> dict[str, Signal]:
    both = sorted((t, pose) for one in shots.values() for t, pose in zip(one.t_ns, one.poses, strict=True))
    matrices = tables.poses([pose for _, pose in both])
    signals = {"ego_pose": Signal.of(np.array([t for t, _ in both], np.int64), near_origin(matrices))}
    can = tables.root / "can_bus"
    if not (can / f"{name}_pose.json").is_file():
        if can.is_dir():
            notes.append(
                f"{name}: can_bus has no {name}_pose.json, so its motion is that of its poses, without steering"
            )
        return signals | motion_of_poses(np.array(lead.t_ns, np.int64), near_origin(tables.poses(lead.poses)))
    t_ns, place, turn, vel, rate, accel = _messages(
        can / f"{name}_pose.json", "pos", "orientation", "vel", "rotation_rate", "accel"
    )
    world = matrix_of(np.concatenate([place, turn], 1))
    signals |= motion_signals(t_ns, vel, rate, without_gravity(accel, world))
    if (file := can / f"{name}_steeranglefeedback.json").is_file():
        t_ns, angle = _messages(file, "value")
        signals["steer"] = Signal.of(t_ns, (angle / STEER_LOCK_RAD).clip(-1, 1))
    if (file := can / f"{name}_vehicle_monitor.json").is_file():
        t_ns, throttle, brake = _messages(file, "throttle", "brake")
        signals["throttle"] = Signal.of(t_ns, (throttle / THROTTLE_FULL).clip(0, 1))
        signals["brake"] = Signal.of(t_ns, (brake / BRAKE_FULL).clip(0, 1))
    return signals


def _messages(file: Path, *fields: str) -> list[np.ndarray]:
    """Times (int64 ns) and `fields` (float64) of the messages in a file of the CAN bus expansion."""
    rows = list(_rows(file, "utime", *fields))
    try:
        t_ns, *columns = (np.array(column) for column in zip(*rows, strict=True))
        return [t_ns.astype(np.int64) * 1000, *(column.astype(np.float64) for column in columns)]
    except ValueError as error:
        raise UserError(
            f"{file}: its messages are empty or of unequal length ({error}); unpack can_bus again"
        ) from None
