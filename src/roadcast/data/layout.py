"""What a reel is on the disk.

reel.json       {schema, fps, height, width, cameras, jpeg_quality, signals, frames, fingerprint, shards, files, report, ...}
videos.jsonl    one row a recording: name, source, split, first, frames, t0_ns, calibration, sha256
index.npy       one row a picture, INDEX below; the row of (frame, camera) is frame * cameras + camera
signals/*.npy   float32 [frames] or [frames, k], one row a time step, NaN where unknown
shards/*.bin    JPEG bytes, end to end
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from roadcast.errors import UserError

SCHEMA = 1
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""MIGRATIONS[n] takes the contents of a reel.json of schema n and gives those of schema n + 1."""

INDEX = np.dtype(
    [("video", "<u4"), ("t_ns", "<i8"), ("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")]
)


def shard_name(shard: int) -> str:
    """The name of shard number `shard` in the folder shards."""
    return f"{shard:05d}.bin"


def partial_of(path: Path) -> Path:
    """The folder in which the reel `path` is put together before it appears."""
    return path.with_name(path.name + ".partial")


def remedy(path: Path) -> str:
    """What to do about a reel that is damaged."""
    return f"restore it from a copy, or remove {path} and ingest again"


def read_header(path: Path) -> dict[str, Any]:
    """The contents of the reel's reel.json, brought to this schema; a `UserError` if it is none, damaged, or newer."""
    try:
        header = json.loads((path / "reel.json").read_text())
        version = header["schema"]
    except OSError:
        unfinished = partial_of(path).is_dir()
        why = "its ingest was not finished; start it again" if unfinished else "give a folder made by roadcast ingest"
        raise UserError(f"{path}: is no reel (it has no reel.json); {why}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}/reel.json: cannot be read ({error!r}); {remedy(path)}") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise UserError(
            f"{path}/reel.json: schema = {version!r}, but this roadcast reads 1 to {SCHEMA}; install a newer roadcast"
        )
    for past in range(version, SCHEMA):
        header = MIGRATIONS[past](header)
    return cast(dict[str, Any], header)
