"""What a reel is on the disk.

reel.json          {schema, fps, height, width, cameras, sensors, jpeg_quality, signals, frames, tables, fingerprint, shards, ...}
tables/NNNN/       the tables that reel.json names; a change writes new ones beside, and reel.json, replaced, makes it so
  videos.jsonl     one row a recording: name, source, split, first, frames, t0_ns, calibration, sensors, sha256
  calibrations.json  each calibration once, by its SHA-256, which stands in the rows that have it
  index.npy        one row a picture, INDEX below; the row of (frame, camera) is frame * cameras + camera
  signals/*.npy    float32 [frames] or [frames, k], one row a time step, NaN where unknown
  sensors/*.npy    one row a reading of the sensor, INDEX below, at its own times; a recording's lie together
shards/*.bin       one a recording of the source: JPEG bytes end to end, and readings of sensors behind the pictures they go
                   with: float32 little-endian rows at multiples of 4 bytes, or PNG
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from roadcast.errors import UserError

SCHEMA = 2

INDEX = np.dtype(
    [("video", "<u4"), ("t_ns", "<i8"), ("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")]
)


def shard_name(shard: int) -> str:
    """The name of shard number `shard` in the folder shards."""
    return f"{shard:05d}.bin"


def shard_number(name: str) -> int:
    """The number of the shard of that name."""
    return int(name.partition(".")[0])


def recording_of(name: str) -> str:
    """The recording of the source that the reel's recording of that name is a piece of: without -0000, -0001, ..."""
    return re.sub(r"-\d{4}$", "", name)


def partial_of(path: Path) -> Path:
    """The folder in which the reel `path`, or what comes to it, is put together before it appears."""
    return path.with_name(path.name + ".partial")


def remedy(path: Path) -> str:
    """What to do about a reel that is damaged."""
    return f"restore it from a copy, or remove {path} and ingest again"


def read_header(path: Path) -> dict[str, Any]:
    """The contents of the reel's reel.json, brought to this schema; a `UserError` if it is none, damaged, or newer."""
    try:
        text = (path / "reel.json").read_text()
    except OSError:
        unfinished = partial_of(path).is_dir()
        why = "its ingest was not finished; start it again" if unfinished else "give a folder made by roadcast ingest"
        raise UserError(f"{path}: is no reel (it has no reel.json); {why}") from None
    return parse_header(text, f"{path}/reel.json", remedy(path))


def parse_header(text: str, where: str, mend: str) -> dict[str, Any]:
    """The text of a reel.json, brought to this schema; a `UserError` names `where` and `mend` if it is damaged or newer."""
    try:
        header = json.loads(text)
        version = header["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: cannot be read ({error!r}); {mend}") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise UserError(
            f"{where}: schema = {version!r}, but this roadcast reads 1 to {SCHEMA}; install a newer roadcast"
        )
    for past in range(version, SCHEMA):
        header = MIGRATIONS[past](header)
    return cast(dict[str, Any], header)


def parse_videos(text: bytes) -> list[dict[str, Any]]:
    """The rows of a videos.jsonl of any schema, brought to this one; calibrations stand in them as they were written."""
    rows = json.loads(b"[" + text.strip().replace(b"\n", b",") + b"]")
    return [_video_of_schema_1(row) for row in rows] if rows and "sensors" not in rows[0] else rows


def _header_of_schema_1(header: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 kept its tables in the reel's own folder, and knew no sensors."""
    return header | {"schema": 2, "tables": ".", "sensors": {}, "appended": []}


def _video_of_schema_1(row: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 called the place of a camera camera_to_ego."""
    calibration = row["calibration"] and {
        name: {"to_ego" if key == "camera_to_ego" else key: value for key, value in entry.items()}
        for name, entry in row["calibration"].items()
    }
    return row | {"calibration": calibration, "sensors": {}}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _header_of_schema_1}
"""MIGRATIONS[n] takes the contents of a reel.json of schema n and gives those of schema n + 1."""
