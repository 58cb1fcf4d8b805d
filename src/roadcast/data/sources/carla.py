"""CARLA (simulated) drives as common recorders write them: folders of pictures with a measurement a frame, or one CSV."""

import ast
import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.geometry import pose_of
from roadcast.data.intake.pictures import read_picture
from roadcast.data.sources.base import IMAGE_SUFFIXES, Frames, Recording, Sensor, Signal, unreadable
from roadcast.data.sources.motion import MOVING, motion_of_poses, near_origin
from roadcast.errors import UserError

TICK = 0.05
"""Seconds a step of the simulator, of which recorders keep every so many."""
PERIOD = 0.5
"""Seconds a frame, taken where neither times nor speed and places tell."""
MEASUREMENTS = ("measurements", "measurements_full")
KEYS = ("frame", "frame_id", "frame_number", "image", "image_path", "filename", "file")
TIMES = ("timestamp", "time", "sim_time", "simulation_time", "game_time", "elapsed_seconds")
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
"""From Unreal's left-handed x forward, y right, z up to ours and back."""
BOX_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")
STACK = 0.75
"""Height over width of a picture of a stack (rgb_full): front, left, right and rear, one below the other."""
STACKED = ("front", "left", "right", "rear")


def is_carla(path: Path) -> bool:
    """Whether `path` is a route that a CARLA recorder wrote, or a folder of such."""
    return any(True for _ in _routes(path))


class CarlaSource:
    """One recording a route: `rgb*/` and `measurements/*.json` (or .json.gz, or Python's text of a dict), or pictures and a CSV.

    CARLA steers positive to the RIGHT, so steer = -steer, and its worlds are left-handed, so y and yaw are turned round.
    Pictures have numbers alone: their rate is found from speed and places. theta may be a compass or a yaw; which, is found
    from the way the car goes. A stack of pictures (rgb_full) is taken apart. A CSV has a column frame or image, steer and
    throttle, and may have timestamp (s), brake, speed (m/s) or speed_kmh, and x, y, z (m) and yaw (degrees). LiDAR comes
    from lidar/*.npy; recorders do not write where it and the cameras are. Boxes (boxes/*.json.gz) are in the ego's frame.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        self.routes = sorted(set(_routes(path)))
        if not self.routes:
            raise UserError(
                f"{path}: holds no CARLA route; give one with rgb*/ and measurements/, or with a CSV of frame, steer, throttle"
            )
        views = [_views(route) for route in self.routes]
        names = [name for name in views[0] if all(name in have for have in views)]
        if not names:
            raise UserError(
                f"{path}: its {len(self.routes)} routes have no camera in common; ingest those with the same folders apart"
            )
        self.cameras: tuple[str, ...] = tuple(sorted(names, key=lambda name: (name != "front", name)))
        self._root = path

    def recordings(self) -> Iterator[Recording]:
        for route in self.routes:
            name = "_".join(route.relative_to(self._root).parts) or route.resolve().name
            try:
                yield _recording(route, name, self.cameras)
            except UserError as error:
                yield unreadable(name, name, error)


def _routes(path: Path) -> Iterator[Path]:
    for folder in MEASUREMENTS:
        for depth in (folder, f"*/{folder}", f"*/*/{folder}"):
            for found in path.glob(depth):
                if any(found.glob("*.json")) or any(found.glob("*.json.gz")):
                    yield found.parent
    for table in (*path.glob("*.csv"), *path.glob("*/*.csv")):
        if _is_table(table):
            yield table.parent


def _is_table(file: Path) -> bool:
    try:
        with open(file, encoding="utf-8-sig") as lines:
            names = {name.strip().lower() for name in lines.readline(4096).split(",")}
    except (OSError, ValueError):
        return False
    return {"steer", "throttle"} <= names and bool(names & set(KEYS))


def _views(route: Path) -> dict[str, "_View"]:
    """The cameras of a route by name."""
    pictured = {f.name: f for f in route.iterdir() if f.is_dir() and _has_pictures(f)}
    folders = {name: folder for name, folder in pictured.items() if name.startswith("rgb") and "augment" not in name}
    if not _measurements(route):
        folders = folders or pictured or {"rgb": route}
    if len(folders) > 1:
        folders.pop("rgb_full", None)
    elif "rgb_full" in folders:
        first = next(iter(sorted(_by_number(folders["rgb_full"]).values())), None)
        image = None if first is None else read_picture(first)
        parts = 1 if image is None else max(1, round(image.shape[0] / (STACK * image.shape[1])))
        if parts > 1:
            return {name: _View(folders["rgb_full"], n, parts) for n, name in enumerate(STACKED[:parts])}
    views = {}
    for name, folder in sorted(folders.items()):
        short = re.sub(r"^rgb_?", "", name) or "front"
        views["front" if len(folders) == 1 else name if short in views else short] = _View(folder)
    return views


def _has_pictures(folder: Path) -> bool:
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir())


def _measurements(route: Path) -> Path | None:
    return next((route / name for name in MEASUREMENTS if (route / name).is_dir()), None)


def _by_number(folder: Path) -> dict[int, Path]:
    """Files of pictures by the last number of their names."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return {int(found[-1]): file for file in files if (found := re.findall(r"\d+", file.stem))}


@dataclass(frozen=True)
class _View:
    """A camera: its folder, and which part of its pictures is its own, counted from above."""

    folder: Path
    part: int = 0
    parts: int = 1


@dataclass
class _Drive:
    """What a recorder told, a row a frame: numbers of frames, seconds (NaN where not told), places and turns, controls."""

    numbers: list[int] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    matrices: list[np.ndarray | None] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        return np.array([row.get(name, np.nan) for row in self.rows], np.float64)


def _recording(route: Path, name: str, cameras: tuple[str, ...]) -> Recording:
    notes: list[str] = []
    folder = _measurements(route)
    drive = _from_table(route) if folder is None else _from_files(folder)
    views = _views(route)
    files = {view.folder: _by_number(view.folder) for view in views.values()}
    numbers = sorted(set(drive.numbers).union(*files.values()))
    for picture_folder, there in files.items():
        if missing := len(set(numbers) - there.keys()):
            notes.append(
                f"{name}: {missing} of {len(numbers)} pictures of {picture_folder.name} are missing; it is cut there"
            )
    poses = _poses(drive)
    period = _period(drive, poses, name, notes)
    told = drive.column("t")
    seconds = dict(zip(drive.numbers, told.tolist())) if np.isfinite(told).all() else {}
    t_of = {n: round(seconds.get(n, n * period) * 1e9) for n in numbers if not seconds or n in seconds}
    numbers = list(t_of)
    t_ns = np.array([t_of[n] for n in drive.numbers], np.int64)
    signals = _signals(drive, t_ns, poses)
    sensors = {}
    if (lidar := _lidar(route / "lidar", t_of, name, notes)) is not None:
        sensors["lidar"] = lidar
    if any((route / "boxes").glob("*.json*")):
        sensors["boxes"] = _boxes(route / "boxes", t_of)
    chosen = [views[camera] for camera in cameras]

    def frames() -> Frames:
        for n in numbers:
            read = {view.folder: read_picture(files[view.folder].get(n, view.folder / "none")) for view in chosen}
            images = []
            for view in chosen:
                if (image := read[view.folder]) is not None:
                    height = image.shape[0] // view.parts
                    images.append(image[view.part * height : (view.part + 1) * height])
            whole = len(images) == len(chosen)
            yield t_of[n], None if not whole else images[0] if len(images) == 1 else tuple(images)

    calibration = {"boxes": {"to_ego": np.eye(4).tolist()}} if "boxes" in sensors else None
    return Recording(
        name, name, frames, signals, calibration, notes=tuple(notes), sensors=sensors, period_ns=round(period * 1e9)
    )


def _from_files(folder: Path) -> _Drive:
    drive = _Drive()
    files = {p.name.split(".")[0]: p for p in folder.iterdir() if p.name.endswith((".json", ".json.gz"))}
    for stem, file in sorted(files.items(), key=lambda item: (len(item[0]), item[0])):
        if not (digits := re.findall(r"\d+", stem)):
            continue
        told = read_dict(file)
        row = {
            name: _number(file, name, told[name]) for name in ("steer", "throttle", "brake", "speed") if name in told
        }
        place = told.get("pos_global")
        x, y = place[:2] if isinstance(place, list) and len(place) > 1 else (told.get("x"), told.get("y"))
        if x is not None and y is not None:
            row |= {"x": _number(file, "x", x), "y": _number(file, "y", y)}
        if told.get("theta") is not None:
            row["yaw"] = _number(file, "theta", told["theta"])
        matrix = np.array(told["ego_matrix"], np.float64) if "ego_matrix" in told else None
        if matrix is not None and matrix.shape != (4, 4):
            raise UserError(f"{file}: ego_matrix is of shape {list(matrix.shape)}, should be 4x4; record it again")
        drive.numbers.append(int(digits[-1]))
        drive.rows.append(row)
        drive.matrices.append(matrix)
    return drive


def _from_table(route: Path) -> _Drive:
    file = next(f for f in sorted(route.glob("*.csv")) if _is_table(f))
    drive = _Drive()
    with open(file, encoding="utf-8-sig", newline="") as lines:
        rows = [
            {(k or "").strip().lower(): v for k, v in row.items()}
            for row in csv.DictReader(lines, skipinitialspace=True)
        ]
    if not rows:
        raise UserError(f"{file}: holds no rows; record some driving first")
    key = next(name for name in KEYS if name in rows[0])
    time = next((name for name in TIMES if name in rows[0]), None)
    for told in rows:
        row = {
            name: _number(file, name, told[name])
            for name in ("steer", "throttle", "brake", "speed", "x", "y", "z")
            if told.get(name)
        }
        if told.get("speed_kmh"):
            row["speed"] = _number(file, "speed_kmh", told["speed_kmh"]) / 3.6
        if told.get("yaw"):
            row["yaw"] = np.radians(_number(file, "yaw", told["yaw"]))
        if time is not None and told.get(time):
            row["t"] = _number(file, time, told[time])
        digits = re.findall(r"\d+", Path(told[key] or "").stem)
        if not digits:
            raise UserError(f"{file}: {key} = {told[key]!r} has no number to find its picture by; correct it")
        drive.numbers.append(int(digits[-1]))
        drive.rows.append(row)
        drive.matrices.append(None)
    order = sorted(range(len(rows)), key=lambda n: drive.numbers[n])
    return _Drive(*([column[n] for n in order] for column in (drive.numbers, drive.rows, drive.matrices)))


def read_dict(file: Path) -> dict[str, Any]:
    """The dict in a file of JSON, or of Python's text of a dict of plain values, which is never run; .gz is unpacked."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        text = data.decode("utf-8")
        try:
            told = json.loads(text)
        except ValueError:
            told = ast.literal_eval(text.strip())
    except (OSError, EOFError, ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{file}: is neither JSON nor the text of a Python dict ({error!r:.80}); record it again"
        ) from None
    if not isinstance(told, dict):
        raise UserError(f"{file}: holds a {type(told).__name__}, not a dict of measurements; record it again")
    return told


def _number(file: Path, name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{file}: {name} = {value!r} is no number; correct it or leave it out") from None


def _poses(drive: _Drive) -> np.ndarray | None:
    """Poses [N, 7], NaN where not known; None if never."""
    if all(matrix is not None for matrix in drive.matrices) and drive.matrices:
        turned = MIRROR @ np.stack([m for m in drive.matrices if m is not None]) @ MIRROR
        return near_origin(turned)
    x, y, z, yaw = (drive.column(name) for name in ("x", "y", "z", "yaw"))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(yaw)
    if not known.any():
        return None
    first = int(np.argmax(known))
    yaw = yaw + _heading_offset(x, y, yaw)
    matrices = np.tile(np.eye(4), (len(x), 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(yaw)
    matrices[:, 1, 0], matrices[:, 0, 1] = -np.sin(yaw), np.sin(yaw)
    matrices[:, :3, 3] = np.stack([x - x[first], y[first] - y, np.nan_to_num(z - z[first])], 1)
    poses = np.full((len(x), 7), np.nan)
    poses[known] = pose_of(matrices[known])
    return poses


def _heading_offset(x: np.ndarray, y: np.ndarray, yaw: np.ndarray) -> float:
    """What must be added to `yaw` (a yaw or a compass) to be the way the car goes: a whole number of right angles."""
    dx, dy = np.diff(x), np.diff(y)
    gone = np.isfinite(dx + dy + yaw[1:]) & (np.hypot(dx, dy) > 0.1)
    if not gone.any():
        return 0.0
    apart = np.exp(1j * (np.arctan2(dy[gone], dx[gone]) - yaw[1:][gone])) * np.hypot(dx, dy)[gone]
    return float(np.round(np.angle(apart.sum()) / (np.pi / 2)) * np.pi / 2)


def _period(drive: _Drive, poses: np.ndarray | None, name: str, notes: list[str]) -> float:
    """Seconds from one number to the next: told, or way over speed in whole ticks of the simulator, or PERIOD."""
    steps, t, speed = np.diff(drive.numbers), drive.column("t"), drive.column("speed")
    if len(steps) and np.isfinite(t).all():
        return max(1e-3, float(np.median(np.diff(t) / np.maximum(steps, 1))))
    if poses is not None and len(steps):
        way = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
        fast = (speed[1:] + speed[:-1]) / 2
        used = np.isfinite(way + fast) & (fast > MOVING) & (steps == 1)
        if used.any():
            ticks = max(1, round(way[used].sum() / fast[used].sum() / TICK))
            notes.append(
                f"{name}: frames were taken to be {1 / (ticks * TICK):g} a second, as speed and places agree with"
            )
            return ticks * TICK
    notes.append(f"{name}: frames were taken to be {1 / PERIOD:g} a second, as neither times nor speed and places tell")
    return PERIOD


def _signals(drive: _Drive, t_ns: np.ndarray, poses: np.ndarray | None) -> dict[str, Signal]:
    signals: dict[str, Signal] = {}
    if poses is not None:
        known = np.isfinite(poses).all(1) & (np.diff(t_ns, prepend=t_ns[:1] - 1) > 0)
        signals = {"ego_pose": Signal.of(t_ns[known], poses[known]), **motion_of_poses(t_ns[known], poses[known])}
    measured: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "steer": lambda column: (-column).clip(-1, 1),
        "throttle": lambda column: column.clip(0, 1),
        "brake": lambda column: column.clip(0, 1),
        "speed": lambda column: column,
    }
    for name, turned in measured.items():
        if np.isfinite(column := drive.column(name)).any():
            signals[name] = Signal.of(t_ns, turned(column))
    return signals


def _lidar(folder: Path, t_of: dict[int, int], name: str, notes: list[str]) -> Sensor | None:
    """Points of .npy files [N, 3 or more]; y is turned round. Pickled ones are not read, as a pickle can run anything."""
    if not folder.is_dir():
        return None
    files = {n: file for n in t_of if (file := folder / f"{n:04d}.npy").is_file()}
    first = _points(next(iter(files.values()))) if files else None
    if first is None:
        notes.append(f"{name}: {folder.name}/ holds no .npy of plain numbers, so no LiDAR; save the points as an array")
        return None
    columns = min(4, first.shape[1])
    paths = list(files.values())

    def read(n: int) -> np.ndarray | None:
        points = _points(paths[n])
        if points is None or points.shape[1] < columns:
            return None
        points = points[np.isfinite(points[:, :3]).all(1), :columns].astype(np.float32)
        points[:, 1] *= -1
        if columns > 3:
            points[:, 3] = points[:, 3].clip(0, 1)
        return points

    t_ns = np.array([t_of[n] for n in files], np.int64)
    return Sensor("lidar", ("x", "y", "z", "intensity")[:columns], t_ns, read)


def _points(file: Path) -> np.ndarray | None:
    try:
        points = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return points if points.ndim == 2 and points.shape[1] >= 3 and points.dtype.kind == "f" else None


def _boxes(folder: Path, t_of: dict[int, int]) -> Sensor:
    """Lists of dicts class, position, extent (half sizes), yaw and id, in Unreal's ego frame; what has no size is passed over."""
    files = {
        n: next((f for suffix in (".json", ".json.gz") if (f := folder / f"{n:04d}{suffix}").is_file()), None)
        for n in t_of
    }
    files = {n: file for n, file in files.items() if file is not None}
    told = {n: _box_rows(file) for n, file in files.items()}
    classes = sorted({box["class"] for boxes in told.values() for box in boxes})
    rows = []
    for boxes in told.values():
        table = [
            [x, -y, z, 2 * box["extent"][0], 2 * box["extent"][1], 2 * box["extent"][2], -box.get("yaw", 0.0),
             classes.index(box["class"]), box.get("id", -1)]
            for box in boxes
            for x, y, z in [box["position"]]
        ]  # fmt: skip
        rows.append(np.array(table, np.float32).reshape(-1, len(BOX_FIELDS)))
    t_ns = np.array([t_of[n] for n in files], np.int64)
    return Sensor("boxes", BOX_FIELDS, t_ns, lambda n: rows[n], tuple(classes))


def _box_rows(file: Path) -> list[dict[str, Any]]:
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        boxes = json.loads(data)
        return [
            box
            for box in boxes
            if "position" in box and len(box["position"]) == 3 and box["class"] != "ego_car" and min(box["extent"]) > 0
        ]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: cannot be read as a list of boxes ({error!r:.80}); record it again or remove boxes/"
        ) from None
