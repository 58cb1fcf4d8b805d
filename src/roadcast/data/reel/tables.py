"""A reel's tables in memory: read from one reel, put together from several, written beside, and made the reel's own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.actions import SIGNALS
from roadcast.data.reel.layout import INDEX, SCHEMA, parse_videos
from roadcast.errors import UserError
from roadcast.files import remove, replacing, sha256


@dataclass
class Tables:
    """Everything of a reel but its bytes: rows of videos.jsonl, index rows, signals, and the index rows of each sensor.

    kinds    by sensor, what its readings are: {"kind", "fields", "classes"}
    shards   by name, {"bytes", "sha256"}
    digest   SHA-256 of videos.jsonl, where they were read from one
    """

    videos: list[dict[str, Any]]
    index: np.ndarray
    signals: dict[str, np.ndarray]
    sensors: dict[str, np.ndarray] = field(default_factory=dict)
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)
    digest: str = ""

    @property
    def splits(self) -> list[str]:
        """The split of each recording."""
        return [video["split"] for video in self.videos]

    @property
    def frames(self) -> int:
        return sum(video["frames"] for video in self.videos)


def load_tables(path: Path, header: dict[str, Any]) -> Tables:
    """The tables of the reel at `path`, as its `header` (`read_header`) names them; arrays are memory maps.

    Recordings of one calibration share it. Raises `OSError`, `ValueError`, `TypeError` or `KeyError` for a file that is missing
    or damaged.
    """
    folder = path / header["tables"]
    text = (folder / "videos.jsonl").read_bytes()
    videos = parse_videos(text)
    if (shared := folder / "calibrations.json").exists():
        calibrations = json.loads(shared.read_text()) | {None: None}
        for video in videos:
            video["calibration"] = calibrations[video["calibration"]]
    return Tables(
        videos=videos,
        index=map_array(folder / "index.npy"),
        signals={name: map_array(folder / "signals" / f"{name}.npy") for name in header["signals"]},
        sensors={name: map_array(folder / "sensors" / f"{name}.npy") for name in header["sensors"]},
        kinds=header["sensors"],
        shards=header["shards"],
        digest=hashlib.sha256(text).hexdigest(),
    )


def map_array(path: Path) -> np.ndarray:
    """A .npy file as a read-only memory map."""
    return np.asarray(np.load(path, mmap_mode="r"))


def join_tables(parts: Sequence[Tables]) -> Tables:
    """The tables of several, one after another; shard numbers must differ already.

    Raises `UserError` if two recordings have one name, or if a sensor's readings are not alike everywhere.
    """
    names = [video["name"] for part in parts for video in part.videos]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two recordings are named {twice!r}; rename one at the source")
    kinds: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, kind in part.kinds.items():
            if kinds.setdefault(name, kind) != kind:
                raise UserError(
                    f"sensor {name!r} is {_told(kinds[name])} in one recording and {_told(kind)} in "
                    f"{part.videos[0]['name']!r}; ingest them into two reels, or leave the sensor out"
                )
    videos, firsts, frames = [], dict.fromkeys(kinds, 0), 0
    for part in parts:
        shift = dict(firsts)
        for row in part.videos:
            sensors = {name: [first + shift[name], count] for name, (first, count) in row["sensors"].items()}
            videos.append(row | {"first": frames, "sensors": sensors})
            frames += row["frames"]
        for name, rows in part.sensors.items():
            firsts[name] += len(rows)
    index = np.concatenate([np.zeros(0, INDEX), *(part.index for part in parts)])
    views = len(index) // max(1, frames)
    index["video"] = np.repeat(np.arange(len(videos)), [video["frames"] * views for video in videos])
    sensors = {name: np.concatenate([part.sensors[name] for part in parts if name in part.sensors]) for name in kinds}
    for name, rows in sensors.items():
        rows["video"] = np.repeat(np.arange(len(videos)), [video["sensors"].get(name, (0, 0))[1] for video in videos])
    return Tables(
        videos,
        index,
        join_signals([(part.frames, part.signals) for part in parts]),
        sensors,
        kinds,
        {name: shard for part in parts for name, shard in part.shards.items()},
    )


def join_signals(stretches: Sequence[tuple[int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The signals of stretches (frames, signals by name) end to end: float32 [all frames] or [.., k], NaN where one lacks it."""
    joined = {}
    for name, width in SIGNALS.items():
        tail = () if width == 1 else (width,)
        if any(name in signals for _, signals in stretches):
            columns = [s[name] if name in s else np.full((n, *tail), np.nan, np.float32) for n, s in stretches]
            joined[name] = np.concatenate(columns)
    return joined


def write_tables(reel: Path, place: str, tables: Tables, header: dict[str, Any]) -> dict[str, Any]:
    """Write `tables` to the folder `place` (such as "tables/0001") of `reel`; `header` completed, which makes them count."""
    with replacing(reel / place) as folder:
        (folder / "signals").mkdir(parents=True)
        (folder / "sensors").mkdir()
        np.save(folder / "index.npy", tables.index)
        for kind, columns in (("signals", tables.signals), ("sensors", tables.sensors)):
            for name, values in columns.items():
                np.save(folder / kind / f"{name}.npy", values)
        calibrations: dict[str, Any] = {}
        rows = b"".join(_video_row(video, calibrations) for video in tables.videos)
        (folder / "videos.jsonl").write_bytes(rows)
        (folder / "calibrations.json").write_text(json.dumps(calibrations))
        written = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        files = {name: sha256(folder / name) for name in written if name != "videos.jsonl"}
    return header | {
        "schema": SCHEMA,
        "tables": place,
        "signals": {name: SIGNALS[name] for name in tables.signals},
        "sensors": tables.kinds,
        "frames": tables.frames,
        "fingerprint": hashlib.sha256(rows).hexdigest(),
        "shards": tables.shards,
        "files": files,
    }


def commit(reel: Path, tables: Tables, header: dict[str, Any]) -> None:
    """Make `tables` those of the reel that is there: written beside, then reel.json replaced, then the old ones removed.

    A reader that opened the reel before goes on with the old tables, whose maps live as long as it does.
    """
    old = header["tables"]
    place = f"tables/{int(old.rpartition('/')[2]) + 1 if '/' in old else 1:04d}"
    changed = write_tables(reel, place, tables, header)
    write_header(reel, changed)
    for name in [old] if old != "." else ["videos.jsonl", "index.npy", "signals"]:
        remove(reel / name)


def write_header(reel: Path, header: dict[str, Any]) -> None:
    """Replace the reel's reel.json, whole or not at all."""
    with replacing(reel / "reel.json") as beside:
        beside.write_text(json.dumps(header, indent=1) + "\n")


def _video_row(video: dict[str, Any], calibrations: dict[str, Any]) -> bytes:
    """The line of a recording; its calibration goes to `calibrations`, and its digest to the line."""
    if (calibration := video["calibration"]) is not None:
        key = hashlib.sha256(json.dumps(calibration, sort_keys=True).encode()).hexdigest()
        calibrations[key] = calibration
        video = video | {"calibration": key}
    return json.dumps(video).encode() + b"\n"


def _told(kind: dict[str, Any]) -> str:
    return f"{kind['kind']} ({' '.join(kind['fields'])})" if kind["fields"] else kind["kind"]
