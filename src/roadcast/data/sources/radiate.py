"""RADIATE: stereo camera, 360-degree radar, Velodyne, GPS/IMU, and boxes drawn on the radar's pictures."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadcast.data.geometry import pose_of
from roadcast.data.sources.base import Recording, Sensor, Signal, unreadable
from roadcast.data.sources.kitti import EARTH_RADIUS
from roadcast.data.sources.motion import MOVING, motion_signals
from roadcast.data.sources.pictures import camera_frames
from roadcast.data.sources.pointclouds import read_text
from roadcast.errors import UserError

CAMERAS = {"front": ("zed_left", "left_cam_calib"), "front_right": ("zed_right", "right_cam_calib")}
CALIBRATION = ("default-calib.yaml", "config/default-calib.yaml")
METRES_PER_PIXEL = 100 / 576
"""Of the radar's pictures: 576 cells of range, the last 100 m away."""
LIDAR_PERIOD_NS = 100_000_000
SENSORS_UP = 1.8
"""Height of the radar above the road, m, by which boxes that were drawn from above get a place in height."""
HEIGHTS = {"bus": 3.0, "truck": 2.5, "van": 2.0, "pedestrian": 1.8, "group_of_pedestrians": 1.8}
HEIGHT = 1.5
"""Heights of boxes by class, m: taken, not measured; and that of all others."""
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")
TURN = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
"""From x right, y forward, z up to x forward, y left, z up."""
LOOK = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From x right, y forward, z up to a camera's x right, y down, z forward."""


def is_radiate(path: Path) -> bool:
    """Whether `path` is a sequence of RADIATE, or a folder of such."""
    return any(True for _ in _sequences(path))


class RadiateSource:
    """One recording a sequence, at the times of its .txt files; frames that they name but that are not there are missing.

    The ego frame is the radar's (x forward, y left, z up). radar is the Cartesian picture, forward up, its middle the radar;
    radar_polar has a row a range and a column an azimuth, clockwise from forward. Boxes are in metres in the radar's frame;
    their heights are typical of their class. A LiDAR frame whose number is below those its .txt names is dated by its number,
    10 a second. The GPS/IMU's velocity is north, east, down, and its rates and accelerations are along forward, right, down;
    the heading of ego_pose is the course, as the unit's own is off by tens of degrees. The radar's times are stamped about
    a third of a second later than the LiDAR's (by the walls both see in fog_6_0); they are left as they are.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        self.sequences = sorted(_sequences(path))
        if not self.sequences:
            raise UserError(
                f"{path}: holds no sequence of RADIATE; give the folder that has zed_left.txt and Navtech_Cartesian.txt"
            )
        have = [{name for name, (folder, _) in CAMERAS.items() if (s / folder).is_dir()} for s in self.sequences]
        self.cameras: tuple[str, ...] = tuple(name for name in CAMERAS if all(name in names for names in have))
        if not self.cameras:
            raise UserError(
                f"{path}: its sequences have no camera in common; unpack zed_left of all, or ingest them apart"
            )

    def recordings(self) -> Iterator[Recording]:
        for sequence in self.sequences:
            try:
                yield _recording(sequence.resolve(), self.cameras)
            except UserError as error:
                yield unreadable(sequence.resolve().name, sequence.name, error)


def _sequences(path: Path) -> Iterator[Path]:
    for depth in (".", "*", "*/*"):
        for folder in path.glob(f"{depth}/zed_left.txt") if depth != "." else [path / "zed_left.txt"]:
            if folder.is_file() and (folder.parent / "Navtech_Cartesian.txt").is_file():
                yield folder.parent


def _recording(sequence: Path, cameras: tuple[str, ...]) -> Recording:
    name, notes = sequence.name, []
    lead_ns = _times(sequence / "zed_left.txt")
    matched = []
    for camera in cameras:
        folder = CAMERAS[camera][0]
        t_ns = _times(sequence / f"{folder}.txt")
        files = [sequence / folder / f"{number:06d}.png" for number in lead_ns]
        matched.append(([t_ns.get(number, lead_ns[number]) for number in lead_ns], files))
        if missing := sum(not file.is_file() for file in files):
            notes.append(f"{name}: {missing} of {len(files)} pictures of {folder} are missing; it is cut there")
    sensors = _sensors(sequence, notes)
    signals = _signals(sequence, notes)
    first, last = min(lead_ns.values()), max(lead_ns.values())
    if signals and (signals["gps"].t_ns[0] > last or signals["gps"].t_ns[-1] < first):
        spans = [f"{t / 1e9:.1f}" for t in (signals["gps"].t_ns[0], signals["gps"].t_ns[-1], first, last)]
        notes.append(
            f"{name}: GPS_IMU_Twist covers {spans[0]} to {spans[1]} s but the pictures {spans[2]} to {spans[3]} s, so it is left out"
        )
        signals = {}
    step = int(np.median(np.diff(list(lead_ns.values())))) if len(lead_ns) > 1 else None
    return Recording(
        name, name, lambda: camera_frames(matched), signals, _calibration(sequence, cameras, sensors, notes),
        notes=tuple(notes), sensors=sensors, period_ns=step,
    )  # fmt: skip


def _times(file: Path) -> dict[int, int]:
    """Time in ns by frame number, from lines such as `Frame: 000001 Time: 1574859771.744660272`; only times that increase."""
    try:
        text = file.read_text()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); unpack the sequence again") from None
    found = re.findall(r"Frame:\s*(\d+)\s+Time:\s*(\d+)(?:\.(\d+))?", text)
    times = {int(number): int(s) * 10**9 + int(f"{part:0<9.9}") for number, s, part in found}
    if not times:
        raise UserError(f"{file}: has no line `Frame: 000001 Time: seconds`; unpack the sequence again")
    kept: dict[int, int] = {}
    last = -1
    for number, t in sorted(times.items()):
        if t > last:
            kept[number] = last = t
    return kept


def _sensors(sequence: Path, notes: list[str]) -> dict[str, Sensor]:
    sensors = {}
    if (sequence / "velo_lidar.txt").is_file():
        sensors["lidar"] = _lidar(sequence, notes)
    for name, folder in (("radar", "Navtech_Cartesian"), ("radar_polar", "Navtech_Polar")):
        if (sequence / folder).is_dir() and (sequence / f"{folder}.txt").is_file():
            sensors[name] = _radar(sequence / folder, notes)
    annotations = sequence / "annotations" / "annotations.json"
    if annotations.is_file():
        sensors["boxes"] = _boxes(annotations, _times(sequence / "Navtech_Cartesian.txt"))
    return sensors


def _lidar(sequence: Path, notes: list[str]) -> Sensor:
    times = _times(sequence / "velo_lidar.txt")
    there = {int(p.stem) for p in (sequence / "velo_lidar").glob("*.csv") if p.stem.isdigit()}
    first = min(times)
    early = {number: times[first] - (first - number) * LIDAR_PERIOD_NS for number in there if number < first}
    if early:
        notes.append(
            f"{sequence.name}: {len(early)} LiDAR frames come before those its .txt names, and were dated by their numbers"
        )
    if missing := len(times.keys() - there):
        notes.append(f"{sequence.name}: {missing} of the {len(times)} LiDAR frames its .txt names are missing")
    moments = sorted((early | times).items())
    files = [sequence / "velo_lidar" / f"{number:06d}.csv" for number, _ in moments]

    def read(n: int) -> np.ndarray | None:
        points = read_text(files[n], 5, ",")
        if points is not None:
            points[:, :2] = np.stack([points[:, 1], -points[:, 0]], 1)
            points[:, 3] = (points[:, 3] / 255).clip(0, 1)
        return points

    return Sensor("lidar", ("x", "y", "z", "intensity", "ring"), np.array([t for _, t in moments], np.int64), read)


def _radar(folder: Path, notes: list[str]) -> Sensor:
    times = _times(folder.with_name(folder.name + ".txt"))
    files = [folder / f"{number:06d}.png" for number in times]
    if missing := sum(not file.is_file() for file in files):
        notes.append(f"{folder.parent.name}: {missing} of {len(files)} pictures of {folder.name} are missing")

    def read(n: int) -> np.ndarray | None:
        return cv2.imread(str(files[n]), cv2.IMREAD_GRAYSCALE) if files[n].is_file() else None

    return Sensor("image", (), np.array(list(times.values()), np.int64), read)


def _boxes(file: Path, times: dict[int, int]) -> Sensor:
    """Box n of an object belongs to radar frame n + 1: left, top, width and height in pixels, and degrees to the left."""
    try:
        objects = json.loads(file.read_text())
        classes = sorted({one["class_name"] for one in objects})
        tracks: list[dict[str, Any]] = [
            {"row": (classes.index(one["class_name"]), one["id"]), "height": HEIGHTS.get(one["class_name"], HEIGHT),
             "boxes": [(*b["position"], b["rotation"]) if b else None for b in one["bboxes"]]}
            for one in objects
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: cannot be read as RADIATE's annotations ({error!r}); unpack it again or remove it"
        ) from None
    numbers = list(times)

    def read(n: int) -> np.ndarray:
        rows = []
        for track in tracks:
            at = numbers[n] - 1
            if at >= len(track["boxes"]) or (box := track["boxes"][at]) is None:
                continue
            left, top, wide, long, degrees = box
            place = radar_place(np.array([left + wide / 2, top + long / 2]))
            size = (long * METRES_PER_PIXEL, wide * METRES_PER_PIXEL, track["height"])
            rows.append([*place, track["height"] / 2 - SENSORS_UP, *size, np.radians(degrees), *track["row"]])
        return np.array(rows, np.float32).reshape(-1, len(BOX_FIELDS))

    return Sensor("boxes", BOX_FIELDS, np.array(list(times.values()), np.int64), read, tuple(classes))


def radar_place(pixels: np.ndarray, size: int = 1152) -> np.ndarray:
    """Where pixels u v [..., 2] of the Cartesian picture of size x size are: x forward, y left, m, in the radar's frame."""
    return ((size - 1) / 2 - pixels[..., ::-1]) * METRES_PER_PIXEL


def _signals(sequence: Path, notes: list[str]) -> dict[str, Signal]:
    """Of the GPS/IMU's files: latitude longitude altitude, covariance (9), quaternion x y z w, rates, accelerations, covariance
    (27), velocity, rates.
    """
    listed = sequence / "GPS_IMU_Twist.txt"
    if not listed.is_file():
        notes.append(f"{sequence.name}: has no GPS_IMU_Twist.txt, so no pose, speed or turning")
        return {}
    times, rows = [], []
    for number, t in _times(listed).items():
        file = sequence / "GPS_IMU_Twist" / f"{number:06d}.txt"
        if not file.is_file():
            continue
        numbers = re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?|nan", file.read_text())
        if len(numbers) < 52:
            raise UserError(f"{file}: holds {len(numbers)} numbers, should be 55; unpack the sequence again")
        times.append(t)
        rows.append([float(x) for x in numbers])
    if not rows:
        notes.append(f"{sequence.name}: none of its GPS_IMU_Twist files is there, so no pose, speed or turning")
        return {}
    t_ns, table = np.array(times, np.int64), np.array(rows)
    flip = np.array([1.0, -1, -1])
    gps, rates, felt, (north, east, down) = (
        table[:, :3],
        table[:, 16:19] * flip,
        table[:, 19:22] * flip,
        table[:, 49:52].T,
    )
    course = _course(np.hypot(north, east), np.arctan2(north, east))
    velocity = np.stack([np.hypot(north, east), np.zeros(len(t_ns)), -down], 1)
    scale = EARTH_RADIUS * np.cos(np.radians(gps[0, 0]))
    matrices = np.tile(np.eye(4), (len(t_ns), 1, 1))
    matrices[:, :2, :2] = np.moveaxis(
        np.array([[np.cos(course), -np.sin(course)], [np.sin(course), np.cos(course)]]), -1, 0
    )
    matrices[:, 0, 3] = scale * np.radians(gps[:, 1] - gps[0, 1])
    matrices[:, 1, 3] = EARTH_RADIUS * np.radians(gps[:, 0] - gps[0, 0])
    matrices[:, 2, 3] = gps[:, 2] - gps[0, 2]
    signals = motion_signals(t_ns, velocity, rates, felt)
    return signals | {"ego_pose": Signal.of(t_ns, pose_of(matrices)), "gps": Signal.of(t_ns, gps)}


def _course(speed: np.ndarray, course: np.ndarray) -> np.ndarray:
    """`course` (rad), held where the car is too slow to have one."""
    moving = np.flatnonzero(speed > MOVING)
    if not len(moving):
        return np.zeros(len(course))
    held = moving[np.clip(np.searchsorted(moving, np.arange(len(course)), side="right") - 1, 0, None)]
    return course[held]


def _calibration(
    sequence: Path, cameras: tuple[str, ...], sensors: dict[str, Sensor], notes: list[str]
) -> dict[str, Any] | None:
    """A sensor's place T is right, down, forward of the radar in m, and R its turn in degrees about right, forward, up.

    Points of the radar's axes (right, forward, up) are seen by a sensor as Rx(-R0) Ry(-R1) Rz(-R2) X, less T.
    """
    folders = (sequence, sequence.parent, sequence.parent.parent)
    file = next((f for folder in folders for name in CALIBRATION if (f := folder / name).is_file()), None)
    metric = {"to_ego": np.eye(4).tolist()}
    picture = {**metric, "metres_per_pixel": METRES_PER_PIXEL, "centre": [575.5, 575.5], "forward": "up"}
    polar = {
        **metric,
        "metres_per_row": METRES_PER_PIXEL,
        "degrees_per_column": 0.9,
        "first_column": "forward, clockwise",
    }
    told: dict[str, Any] = {"radar": picture, "radar_polar": polar, "boxes": metric}
    if file is None:
        notes.append(
            f"{sequence.name}: {CALIBRATION[0]} is missing, so cameras and LiDAR have no calibration; put it beside the sequence"
        )
    else:
        text = _sections(file)
        for name in cameras:
            told[name] = _camera(file, text, CAMERAS[name][1])
        told["lidar"] = {"to_ego": _mount(file, text, "lidar_calib", TURN).tolist()}
    return {name: entry for name, entry in told.items() if name in sensors or name in cameras}


def _sections(file: Path) -> dict[str, dict[str, list[float]]]:
    """The numbers of a file of sections `name:` and indented lines `key: number` or `key: [numbers]`; all else is passed over."""
    sections: dict[str, dict[str, list[float]]] = {}
    section: dict[str, list[float]] = {}
    for line in file.read_text().splitlines():
        line = line.partition("#")[0].rstrip()
        if head := re.fullmatch(r"(\w+):", line):
            section = sections.setdefault(head[1], {})
        elif found := re.fullmatch(r"\s+(\w+):\s*\[?([-+\d.eE,\s]+)\]?", line):
            try:
                section[found[1]] = [float(x) for x in found[2].replace(",", " ").split()]
            except ValueError:
                raise UserError(f"{file}: {line.strip()!r} is no number; correct it") from None
    return sections


def _get(file: Path, text: dict[str, dict[str, list[float]]], section: str, name: str, count: int) -> list[float]:
    values = text.get(section, {}).get(name, [])
    if len(values) != count:
        raise UserError(
            f"{file}: {section} lacks {name} of {count} numbers; take the calibration file of RADIATE's kit"
        )
    return values


def _camera(file: Path, text: dict[str, dict[str, list[float]]], section: str) -> dict[str, Any]:
    fx, fy, cx, cy = (_get(file, text, section, name, 1)[0] for name in ("fx", "fy", "cx", "cy"))
    distortion = [_get(file, text, section, name, 1)[0] for name in ("k1", "k2", "p1", "p2", "k3")]
    return {
        "intrinsics": [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]],
        "distortion": distortion,
        "to_ego": _mount(file, text, section, LOOK).tolist(),
    }


def _mount(file: Path, text: dict[str, dict[str, list[float]]], section: str, axes: np.ndarray) -> np.ndarray:
    """From a sensor's frame to the ego's; `axes` turns right, forward, up to the sensor's axes."""
    right, below, ahead = _get(file, text, section, "T", 3)
    a, b, c = np.radians(_get(file, text, section, "R", 3))
    seen = np.eye(3)
    for axis, angle in zip(np.eye(3), (a, b, c), strict=True):
        seen = seen @ cv2.Rodrigues(-angle * axis)[0]
    matrix = np.eye(4)
    matrix[:3, :3] = TURN @ (axes @ seen).T
    matrix[:3, 3] = ahead, -right, -below
    return matrix
