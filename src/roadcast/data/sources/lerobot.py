"""LeRobot datasets, versions 3.0, 2.1 and 2.0: tables of frames, and videos of one episode or of several end to end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.actions import ACTIONS, SIGNALS
from roadcast.data.intake.decode import read_video
from roadcast.data.intake.pictures import decode_picture
from roadcast.data.sources.base import Frames, Recording, Signal, unreadable
from roadcast.errors import UserError
from roadcast.optional import load_extra

TIME_FEATURE = "observation.t_ns"
"""int64 ns: the frames' own times, which `roadcast.data.export` adds beside LeRobot's, that are of a constant rate."""
ALIASES = {
    "gas_pedal_normalized": "throttle",
    "brake_pedal_normalized": "brake",
    "steering_angle_normalized": "steer",
}
"""Names of controls in LeRobot sets of driving (L2D) that are not ours."""
PREFIXES = ("observation.images.", "observation.image.", "observation.")
V3 = ("3.",)
V2 = ("2.0", "2.1")


def is_lerobot(path: Path) -> bool:
    """Whether `path` is a folder with meta/info.json, as LeRobot datasets are."""
    return (path / "meta" / "info.json").is_file()


class LeRobotSource:
    """One recording an episode, its frames at frame_index / fps, or at the times of `observation.t_ns` where that is there.

    Signals are the features, or the named columns of features, that bear the name of one of ours; the format says nothing
    of units and signs. Depth videos and everything else are left out.
    """

    def __init__(self, path: Path):
        self.path = path
        self.parquet = load_extra("parquet", "reading LeRobot datasets")
        try:
            self.info = json.loads((path / "meta" / "info.json").read_text())
            version = str(self.info["codebase_version"]).removeprefix("v")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}/meta/info.json: cannot be read ({error!r}); restore it from the dataset") from None
        if not version.startswith((*V3, *V2)):
            raise UserError(
                f"{path}/meta/info.json: codebase_version = {version}, but 2.0, 2.1 and 3.x are read; convert it with LeRobot's tools"
            )
        self.packed = version.startswith(V3)
        try:
            self.fps, self.features = float(self.info["fps"]), dict(self.info["features"])
            self.data_path, self.video_path = self.info["data_path"], self.info.get("video_path")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}/meta/info.json: lacks or spoils {error}; restore it from the dataset") from None
        self.keys = [
            key
            for key, told in self.features.items()
            if told.get("dtype") in ("video", "image") and not _is_depth(told)
        ]
        if not self.keys:
            raise UserError(f"{path}: has no camera among its features; give a dataset with videos or images")
        self.cameras: tuple[str, ...] = tuple(_camera(key) for key in self.keys)
        self.columns = _columns(self.features)
        self._open: dict[str, tuple[Path, int, Iterator[tuple[int, np.ndarray]]]] = {}

    def recordings(self) -> Iterator[Recording]:
        table: dict[str, np.ndarray] = {}
        last = None
        for episode in self._episodes():
            number = int(episode["episode_index"])
            name = f"{self.path.resolve().name}_{number:06d}"
            try:
                if (file := self._data_file(episode)) != last:
                    table, last = self.parquet.read_arrays(file, self._wanted(file)), file
                yield self._recording(name, number, episode, file, table)
            except UserError as error:
                last = None
                yield unreadable(name, name, error)

    def _episodes(self) -> list[dict[str, Any]]:
        if not self.packed:
            path = self.path / "meta" / "episodes.jsonl"
            try:
                rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: cannot be read ({error}); restore it from the dataset") from None
        else:
            rows = []
            files = sorted((self.path / "meta" / "episodes").glob("*/*.parquet"))
            if not files:
                raise UserError(f"{self.path}/meta/episodes: holds no table; restore it from the dataset")
            for file in files:
                columns = [c for c in self.parquet.column_names(file) if not c.startswith("stats/")]
                table = self.parquet.read_columns(file, columns)
                rows += [dict(zip(columns, row, strict=True)) for row in zip(*table.values(), strict=True)]
        return sorted(rows, key=lambda row: row["episode_index"])

    def _place(self, template: str, episode: dict[str, Any], prefix: str, key: str = "") -> Path:
        """The file of an episode, by a template of info.json."""
        number = int(episode["episode_index"])
        try:
            if self.packed:
                chunk, file = (int(episode[f"{prefix}/{part}_index"]) for part in ("chunk", "file"))
                return self.path / template.format(chunk_index=chunk, file_index=file, video_key=key)
            chunk = number // int(self.info.get("chunks_size", 1000))
            return self.path / template.format(episode_chunk=chunk, episode_index=number, video_key=key)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{self.path}: episode {number} has no {prefix} place ({error}); restore meta/") from None

    def _data_file(self, episode: dict[str, Any]) -> Path:
        return self._place(self.data_path, episode, "data")

    def _wanted(self, file: Path) -> list[str]:
        there = self.parquet.column_names(file)
        return [c for c in ("episode_index", "frame_index", TIME_FEATURE, *self.columns) if c in there]

    def _recording(
        self, name: str, number: int, episode: dict[str, Any], file: Path, table: dict[str, np.ndarray]
    ) -> Recording:
        if missing := {"episode_index", "frame_index"} - table.keys():
            raise UserError(f"{file}: has no column {min(missing)}; restore it from the dataset")
        rows = np.flatnonzero(table["episode_index"] == number)
        rows = rows[np.argsort(table["frame_index"][rows], kind="stable")]
        if len(rows) != int(episode["length"]):
            raise UserError(
                f"{file}: {len(rows)} rows of episode {number}, which has {episode['length']} frames; restore it from the dataset"
            )
        index = table["frame_index"][rows]
        t_ns = np.rint(index * (1e9 / self.fps)).astype(np.int64)
        if TIME_FEATURE in table:
            t_ns = table[TIME_FEATURE][rows].reshape(-1).astype(np.int64)
        signals = {}
        for column, places in self.columns.items():
            if column not in table:
                continue
            values = table[column][rows].reshape(len(rows), -1)
            for signal, at in places.items():
                signals[signal] = Signal.of(t_ns, _limited(signal, values if at is None else values[:, at]))

        def frames() -> Frames:
            films = [self._film(key, episode, file, index) for key in self.keys]
            for t, *images in zip(t_ns.tolist(), *films, strict=True):
                whole = all(image is not None for image in images)
                yield t, (tuple(images) if len(images) > 1 else images[0]) if whole else None

        notes = (
            f"{name}: LeRobot states no units or signs; steer was taken as positive left and speed as m/s, else use invert or scale it",
        )
        stated = TIME_FEATURE in table
        return Recording(
            name, name, frames, signals, notes=notes if signals and not stated else (), period_ns=round(1e9 / self.fps)
        )

    def _film(self, key: str, episode: dict[str, Any], file: Path, index: np.ndarray) -> Iterator[np.ndarray | None]:
        """The pictures of one camera, one a frame of the episode."""
        if self.features[key]["dtype"] == "image":
            number = int(episode["episode_index"])
            wanted = self.parquet.read_rows(file, ["episode_index", "frame_index", key])
            yield from (_decode(row[key]) for row in wanted if row["episode_index"] == number)
            return
        path = self._place(self.video_path, episode, f"videos/{key}", key)
        if not path.is_file():
            raise UserError(f"{path}: is missing; copy it again")
        start = float(episode.get(f"videos/{key}/from_timestamp", 0.0)) if self.packed else 0.0
        due_ns = np.rint((start + index / self.fps) * 1e9).astype(np.int64)
        early_ns = round(0.5e9 / self.fps)
        opened, last_ns, film = self._open.pop(key, (None, 0, iter(())))
        if opened != path or last_ns >= due_ns[0] - early_ns:
            film = read_video(path)
        given = 0
        for t_ns, image in film:
            if t_ns < due_ns[given] - early_ns:
                continue
            while given < len(index) and t_ns > due_ns[given] + early_ns:
                yield None  # the film lacks this one
                given += 1
            if given == len(index):
                return
            yield image
            given += 1
            if given == len(index):
                self._open[key] = (path, t_ns, film)  # the next episode of the file goes on from here
                return
        raise UserError(
            f"{path}: gave {given} of the {len(index)} frames of episode {episode['episode_index']}, so it is cut short or "
            "another video; copy it again"
        )


def _columns(features: dict[str, Any]) -> dict[str, dict[str, int | None]]:
    """By feature, the signals in it and their places; None for a feature that is one signal as a whole."""
    found: dict[str, dict[str, int | None]] = {}
    taken: set[str] = set()
    for key, told in features.items():
        if not str(told.get("dtype")).startswith("float"):
            continue
        names = told.get("names")
        if isinstance(names, dict):
            names = next(iter(names.values()), None)
        last = key.rpartition(".")[2]
        places: dict[str, int | None] = {}
        if last in SIGNALS and list(told.get("shape", [])) == [SIGNALS[last]]:
            places[last] = None
        elif isinstance(names, list):
            for at, name in enumerate(names):
                signal = ALIASES.get(str(name), str(name).rpartition(".")[2])
                if SIGNALS.get(signal) == 1:
                    places[signal] = at
        places = {signal: at for signal, at in places.items() if signal not in taken}
        if places:
            found[key] = places
            taken |= places.keys()
    return found


def _limited(signal: str, values: np.ndarray) -> np.ndarray:
    """The values [N], or [N, k], inside their range."""
    action = ACTIONS.get(signal)
    return values if action is None else np.clip(values.reshape(-1), action.low, action.high)


def _camera(key: str) -> str:
    prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
    return key.removeprefix(prefix).replace("/", "_") or key


def _is_depth(told: dict[str, Any]) -> bool:
    info = {**(told.get("video_info") or {}), **(told.get("info") or {})}
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))


def _decode(cell: Any) -> np.ndarray | None:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return decode_picture(data) if data else None
