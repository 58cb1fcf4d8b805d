"""Complete pieces put together to the reel's tables; its shards lie where they are already."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.actions import SIGNALS
from roadcast.data.layout import shard_name
from roadcast.data.piece import join_signals, load_piece
from roadcast.data.split import SPLITS, assign_splits, shared_pictures
from roadcast.files import remove, sha256


def join(partial: Path, pieces: list[dict[str, Any]], header: dict[str, Any], report: dict[str, Any]) -> Path:
    """Make `partial`/reel a reel of `pieces` (as `complete_pieces` gives them), and return its path.

    `header` is what is known of reel.json before the first recording; `report` is kept there as it is, with a warning more
    if pictures of val or test are in train too.
    """
    reel, views = partial / "reel", len(header["cameras"])
    videos = _videos([row for piece in pieces for row in piece["rows"]])
    tables, stretches = [], []
    for piece in pieces:
        table, signals_of_piece = load_piece(partial, piece["ordinal"])
        tables.append(table)
        stretches.append((len(table) // views, signals_of_piece))
    index, signals = np.concatenate(tables), join_signals(stretches)
    index["video"] = np.repeat(np.arange(len(videos)), [video["frames"] * views for video in videos])
    if leaks := _leaks(index, [video["split"] for video in videos]):
        report = report | {"warnings": [*report.get("warnings", []), leaks]}

    np.save(reel / "index.npy", index)
    (reel / "signals").mkdir(exist_ok=True)
    for name, values in signals.items():
        np.save(reel / "signals" / f"{name}.npy", values)
    rows = "".join(json.dumps(video) + "\n" for video in videos).encode()
    (reel / "videos.jsonl").write_bytes(rows)
    shards = {shard_name(p["ordinal"]): {"bytes": p["bytes"], "sha256": p["sha256"]} for p in pieces}
    for stray in (reel / "shards").iterdir():
        if stray.name not in shards:
            remove(stray)
    header = header | {
        "signals": {name: SIGNALS[name] for name in signals},
        "frames": sum(video["frames"] for video in videos),
        "fingerprint": hashlib.sha256(rows).hexdigest(),
        "shards": shards,
        "files": {name: sha256(reel / name) for name in ("index.npy", *(f"signals/{name}.npy" for name in signals))},
        "report": report,
    }
    (reel / "reel.json").write_text(json.dumps(header, indent=1) + "\n")
    return reel


def _videos(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of videos.jsonl: what came of one recording of the source gets one split, if there are enough of these."""
    free = [row for row in rows if row["split"] is None]
    key = "group" if len({row["group"] for row in free}) >= len(SPLITS) else "name"
    splits = assign_splits(row[key] for row in free)
    videos, first = [], 0
    for row in rows:
        split = row["split"] or splits[row[key]]
        video = {"name": row["name"], "source": row["source"], "split": split, "first": first}
        videos.append(video | {k: row[k] for k in ("frames", "t0_ns", "calibration", "sha256")})
        first += row["frames"]
    return videos


def _leaks(index: np.ndarray, splits: list[str]) -> str | None:
    """A warning if pictures of the other splits are, byte for byte, in train as well."""
    trains = np.array([split == "train" for split in splits])[index["video"]]
    shared = shared_pictures(index[trains], index[~trains])
    if not len(shared):
        return None
    names = f"{len(shared)} of {int((~trains).sum())} pictures of val and test"
    return f"{names} are in train too, byte for byte; ingest them apart, or leave copies out, before judging a model by them"
