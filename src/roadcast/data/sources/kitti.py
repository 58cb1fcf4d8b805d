"""KITTI raw drives: rectified or raw cameras, a Velodyne, a GPS/IMU unit (OXTS), tracklets, and the calibration of a day."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.geometry import inverse
from roadcast.data.sources.base import IMAGE_SUFFIXES, Recording, Sensor, Signal, unreadable
from roadcast.data.sources.motion import motion_signals, near_origin, without_gravity
from roadcast.data.sources.pictures import camera_frames, nearest
from roadcast.data.sources.pointclouds import read_bin, read_text
from roadcast.errors import UserError

CAMERAS = {"front": "02", "front_right": "03", "front_grey": "00", "front_right_grey": "01"}
EARTH_RADIUS = 6378137.0
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")


def is_kitti(path: Path) -> bool:
    """Whether `path` is a drive of KITTI raw, or a folder of a day's drives, or of days."""
    return any(True for _ in _drives(path))


class KittiSource:
    """One recording a drive; the calibration files are those of the folder (the day's) that the drive is in.

    Cameras are those that every drive has: front is image_02 (colour), front_right image_03, front_grey image_00 and
    front_right_grey image_01. The ego frame is that of the GPS/IMU unit (x forward, y left, z up). The world of ego_pose has
    x to the east and y to the north at the first place of the drive, by the Mercator projection at that latitude.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        self.drives = sorted(_drives(path))
        if not self.drives:
            raise UserError(
                f"{path}: holds no drive of KITTI raw; give the folder of a day or of a drive (image_02/, oxts/, velodyne_points/)"
            )
        having = [
            {name for name, number in CAMERAS.items() if (drive / f"image_{number}").is_dir()} for drive in self.drives
        ]
        self.cameras: tuple[str, ...] = tuple(name for name in CAMERAS if all(name in have for have in having))
        if not self.cameras:
            raise UserError(
                f"{path}: its {len(self.drives)} drives have no camera in common; ingest those with image_02 apart"
            )

    def recordings(self) -> Iterator[Recording]:
        for drive in self.drives:
            try:
                yield _recording(drive.resolve(), self.cameras)
            except UserError as error:
                yield unreadable(drive.resolve().name, drive.name, error)


def _drives(path: Path) -> Iterator[Path]:
    for depth in ("image_0?", "*/image_0?", "*/*/image_0?"):
        found = {folder.parent for folder in path.glob(depth) if (folder / "timestamps.txt").is_file()}
        yield from (drive for drive in found if _is_drive(drive))


def _is_drive(path: Path) -> bool:
    return (path / "oxts").is_dir() or (path / "velodyne_points").is_dir() or "_drive_" in path.resolve().name


def _recording(drive: Path, cameras: tuple[str, ...]) -> Recording:
    notes: list[str] = []
    pictures = {name: _pictures(drive, f"image_{CAMERAS[name]}") for name in cameras}
    lead_ns = pictures[cameras[0]][0]
    matched = []
    for t_ns, files in pictures.values():
        which = nearest(t_ns, lead_ns)
        matched.append((t_ns[which].tolist(), [files[n] for n in which]))
    for name, (_, files) in pictures.items():
        if missing := sum(not file.is_file() for file in files):
            notes.append(f"{drive.name}: {missing} of {len(files)} pictures of {name} are missing; it is cut there")
    sensors, signals = {}, {}
    if (drive / "velodyne_points").is_dir():
        sensors["lidar"] = _lidar(drive)
    else:
        notes.append(f"{drive.name}: has no velodyne_points, so no LiDAR")
    if (tracklets := drive / "tracklet_labels.xml").is_file():
        sensors["boxes"] = _boxes(tracklets, lead_ns)
    if (drive / "oxts").is_dir():
        signals = _oxts(drive)
    else:
        notes.append(f"{drive.name}: has no oxts, so no pose, speed or turning")
    calibration = _calibration(drive, cameras, sensors, notes)
    return Recording(
        drive.name, drive.name, lambda: camera_frames(matched), signals, calibration,
        notes=tuple(notes), sensors=sensors, period_ns=100_000_000,
    )  # fmt: skip


def _times(file: Path) -> np.ndarray:
    """Lines such as 2011-09-26 13:10:51.168593664 (taken for UTC), int64 ns."""
    try:
        return np.array([line.strip().replace(" ", "T") for line in file.read_text().split("\n") if line.strip()],
                        "datetime64[ns]").astype(np.int64)  # fmt: skip
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as a time a line ({error}); unpack the drive again") from None


def _pictures(drive: Path, folder: str) -> tuple[np.ndarray, list[Path]]:
    """Times and files of a camera's pictures; a picture's file bears the number of its line in timestamps.txt."""
    t_ns = _times(drive / folder / "timestamps.txt")
    if not len(t_ns) or (np.diff(t_ns) <= 0).any():
        raise UserError(f"{drive / folder / 'timestamps.txt'}: its times do not increase; unpack the drive again")
    data = drive / folder / "data"
    names = {p.stem: p for p in data.iterdir() if p.suffix in IMAGE_SUFFIXES} if data.is_dir() else {}
    if not names:
        raise UserError(
            f"{data}: holds no pictures, though its timestamps.txt names {len(t_ns)}; unpack the drive again"
        )
    return t_ns, [names.get(f"{n:010d}", data / f"{n:010d}.png") for n in range(len(t_ns))]


def _lidar(drive: Path) -> Sensor:
    folder = drive / "velodyne_points"
    t_ns = _times(folder / "timestamps.txt")
    kept = np.flatnonzero(np.diff(t_ns, prepend=t_ns[:1] - 1) > 0)

    def read(n: int) -> np.ndarray | None:
        file = folder / "data" / f"{kept[n]:010d}.bin"
        points = read_bin(file, 4) if file.is_file() else read_text(file.with_suffix(".txt"), 4)
        if points is not None:
            points[:, 3] = points[:, 3].clip(0, 1)
        return points

    return Sensor("lidar", ("x", "y", "z", "intensity"), t_ns[kept], read)


def _boxes(file: Path, t_ns: np.ndarray) -> Sensor:
    """The tracklets: boxes in the Velodyne's frame at the cameras' times; tx ty tz is the middle of a box's floor."""
    try:
        items = ElementTree.parse(file).getroot().findall("./tracklets/item")
        kinds = sorted({item.findtext("objectType", "") for item in items})
        rows: dict[int, list[list[float]]] = {}
        for track, item in enumerate(items):
            height, width, length = (float(item.findtext(name, "")) for name in "hwl")
            first = int(item.findtext("first_frame", ""))
            for n, pose in enumerate(item.findall("./poses/item"), first):
                x, y, z, yaw = (float(pose.findtext(name, "")) for name in ("tx", "ty", "tz", "rz"))
                box = [x, y, z + height / 2, length, width, height, yaw, kinds.index(item.findtext("objectType", ""))]
                rows.setdefault(n, []).append([*box, track])
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise UserError(
            f"{file}: cannot be read as KITTI's tracklets ({error}); unpack it again or remove it"
        ) from None
    columns = len(BOX_FIELDS)

    def read(n: int) -> np.ndarray:
        return np.array(rows.get(n, ()), np.float32).reshape(-1, columns)

    return Sensor("boxes", BOX_FIELDS, t_ns, read, tuple(kinds))


def _oxts(drive: Path) -> dict[str, Signal]:
    """Signals of the GPS/IMU unit: lat lon alt roll pitch yaw vn ve vf vl vu ax ay az af al au wx wy wz wf wl wu ...

    x = s r lon pi / 180, y = s r ln tan(pi (90 + lat) / 360) with s = cos(first lat pi / 180) (Mercator); R = Rz(yaw) Ry(pitch)
    Rx(roll). Yaw is counted from east to north, so a turn to the left is positive, as all rates here are.
    """
    t_ns = _times(drive / "oxts" / "timestamps.txt")
    rows = []
    for n in range(len(t_ns)):
        file = drive / "oxts" / "data" / f"{n:010d}.txt"
        numbers = np.fromstring(file.read_text(), sep=" ") if file.is_file() else np.full(23, np.nan)
        if len(numbers) < 23:
            raise UserError(f"{file}: holds {len(numbers)} numbers, oxts has 30; unpack the drive again")
        rows.append(numbers[:23])
    table = np.array(rows).reshape(-1, 23)
    known = np.isfinite(table).all(1)
    t_ns, table = t_ns[known], table[known]
    if not len(t_ns):
        return {}
    lat, lon, alt = table[:, 0], table[:, 1], table[:, 2]
    scale = np.cos(np.radians(lat[0])) * EARTH_RADIUS
    matrices = np.tile(np.eye(4), (len(t_ns), 1, 1))
    matrices[:, :3, :3] = _rotation(*table[:, 3:6].T)
    matrices[:, :3, 3] = np.stack(
        [scale * np.radians(lon), scale * np.log(np.tan(np.pi / 4 + np.radians(lat) / 2)), alt], 1
    )
    acceleration = without_gravity(table[:, 11:14], matrices)
    signals = motion_signals(t_ns, table[:, 8:11], table[:, 17:20], acceleration)
    return signals | {
        "ego_pose": Signal.of(t_ns, near_origin(matrices)),
        "gps": Signal.of(t_ns, np.stack([lat, lon, alt], 1)),
    }


def _rotation(roll: np.ndarray, pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll) [N, 3, 3]."""
    (sr, cr), (sp, cp), (sy, cy) = ((np.sin(angle), np.cos(angle)) for angle in (roll, pitch, yaw))
    return np.stack([
        np.stack([cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr], -1),
        np.stack([sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr], -1),
        np.stack([-sp, cp * sr, cp * cr], -1),
    ], -2)  # fmt: skip


def _calibration(
    drive: Path, cameras: tuple[str, ...], sensors: dict[str, Sensor], notes: list[str]
) -> dict[str, Any] | None:
    """Where cameras and Velodyne are; pictures of a "sync" drive are rectified, those of an "extract" drive are not.

    A rectified camera i sees X_i = K^-1 P_i [R_rect_00 (R X_velo + T), 1], a raw one X_i = R_i (R X_velo + T) + T_i with distortion D_i.
    """
    day = drive.parent
    names = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")
    if missing := [name for name in names if not (day / name).is_file()]:
        notes.append(
            f"{drive.name}: {day.name}/{missing[0]} is missing, so its sensors have no calibration; put the day's files there"
        )
        return None
    cam, velo, imu = (_numbers(day / name) for name in names)
    velo_to_ego = inverse(_rigid(day / names[2], imu, "R", "T"))
    to_camera_0 = _rigid(day / names[1], velo, "R", "T")
    told: dict[str, Any] = {}
    for name in cameras:
        number = CAMERAS[name]
        if drive.name.endswith("_extract"):
            k = _take(day / names[0], cam, f"K_{number}", 9).reshape(3, 3)
            from_velo = _rigid(day / names[0], cam, f"R_{number}", f"T_{number}") @ to_camera_0
            extra = {"distortion": _take(day / names[0], cam, f"D_{number}", 5).tolist()}
        else:
            p = _take(day / names[0], cam, f"P_rect_{number}", 12).reshape(3, 4)
            k, shift, turn = p[:, :3], np.eye(4), np.eye(4)
            shift[:3, 3] = np.linalg.solve(k, p[:, 3])
            turn[:3, :3] = _take(day / names[0], cam, "R_rect_00", 9).reshape(3, 3)
            from_velo, extra = shift @ turn @ to_camera_0, {}
        told[name] = {"intrinsics": k.tolist(), **extra, "to_ego": (velo_to_ego @ inverse(from_velo)).tolist()}
    return told | {name: {"to_ego": velo_to_ego.tolist()} for name in sensors}


def _numbers(file: Path) -> dict[str, np.ndarray]:
    """The lines `name: numbers` of a calibration file."""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return {
        name.strip(): np.array(text.split(), np.float64)
        for name, _, text in lines
        if re.fullmatch(r"[\s\d.eE+-]+", text)
    }


def _take(file: Path, told: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
    if name not in told or len(told[name]) != count:
        raise UserError(f"{file}: lacks {name} of {count} numbers; unpack the day's calibration again")
    return told[name]


def _rigid(file: Path, told: dict[str, np.ndarray], turn: str, place: str) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = _take(file, told, turn, 9).reshape(3, 3)
    matrix[:3, 3] = _take(file, told, place, 3)
    return matrix
