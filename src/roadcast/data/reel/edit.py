"""Reels joined to a new one, and recordings of a reel given other splits; no picture is touched."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.reel.join import leaks, next_shard, shift_shards
from roadcast.data.reel.layout import partial_of, read_header, shard_name, shard_number
from roadcast.data.reel.store import Reel
from roadcast.data.reel.summary import added_reports, reports_of
from roadcast.data.reel.tables import Tables, commit, join_tables, load_tables, write_header, write_tables
from roadcast.data.splits.split import SPLITS
from roadcast.errors import UserError
from roadcast.files import disk_trouble_told, replacing

SHAPE = ("fps", "height", "width", "cameras", "jpeg_quality")


def merge(paths: Sequence[str | Path], out: str | Path) -> Reel:
    """The reel `out` of all recordings of the reels at `paths`, one after another, with the splits they have.

    Shards are hard links where the file system allows it, so that no space is taken twice, and copies elsewhere. The reel is
    put together beside `out` and renamed: a merge that was killed leaves nothing that counts. What the reels came from is kept
    in its origin. Raises `UserError` if `out` is there already, or names the reel that is of another fps, size, cameras, quality
    or sensors than the first, or has a recording of a name that another has.
    """
    out, reels = Path(out), [Reel(path) for path in paths]
    if len(reels) < 2:
        raise UserError(f"{out}: give two reels or more to merge")
    _check_absent(out)
    _check_alike(reels)
    parts, shards, taken = [], {}, 0
    for reel in reels:
        tables = _in_memory(reel)
        links = {shard_name(shard_number(name) + taken): reel.path / "shards" / name for name in tables.shards}
        shift_shards([tables], taken)
        parts.append(tables)
        shards |= links
        taken = next_shard(tables)
    inside = {leaks(part.index, part.splits) for part in parts}
    tables = join_tables(parts)
    report = added_reports([report for reel in reels for report in reports_of(reel)])
    header = {key: reels[0].header[key] for key in SHAPE} | {
        "origin": {"merged": [_provenance(reel) for reel in reels]},
        "appended": [],
        "report": _leaks_anew(report, inside, leaks(tables.index, tables.splits)),
    }
    with disk_trouble_told(out, "then merge again"), replacing(out) as beside:
        (beside / "shards").mkdir(parents=True)
        for name, shard in shards.items():
            _link(shard, beside / "shards" / name)
        write_header(beside, write_tables(beside, "tables/0001", tables, header))
        _check_absent(out)
    return Reel(out)


def resplit(path: str | Path, splits: Mapping[str, str]) -> None:
    """Give each recording of the reel at `path` the split that `splits` has for its name; the others keep theirs.

    To a reader the reel has the old splits until it has the new ones. Its fingerprint changes with them. Raises `UserError` for a
    split that is none, a recording that is not there, or a reel that is being appended to.
    """
    path = Path(path)
    header = read_header(path)
    if partial_of(path).exists():
        raise UserError(f"{path}: more is being appended, or was and was cut short; finish that first")
    tables = load_tables(path, header)
    for name in splits.keys() - {row["name"] for row in tables.videos}:
        raise UserError(f"{path}: has no recording {name!r} to split")
    for split in set(splits.values()) - set(SPLITS):
        raise UserError(f"{path}: split {split!r} is none; choose one of {', '.join(SPLITS)}")
    before = {leaks(tables.index, tables.splits)}
    tables.videos = [row | {"split": splits.get(row["name"], row["split"])} for row in tables.videos]
    header["report"] = _leaks_anew(header["report"], before, leaks(tables.index, tables.splits))
    with disk_trouble_told(path, "then split again"):
        commit(path, tables, header)


def _check_absent(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out}: is there already; choose another place or remove it first")


def _check_alike(reels: Sequence[Reel]) -> None:
    first, owners = reels[0], {video.name: reels[0] for video in reels[0].videos}
    for reel in reels[1:]:
        for key in SHAPE:
            if reel.header[key] != first.header[key]:
                raise UserError(
                    f"{reel.path}: has {key} {_told(reel.header[key])}, and {first.path} {_told(first.header[key])}; "
                    "ingest one of them again to match"
                )
        if reel.header["sensors"] != first.header["sensors"]:
            raise UserError(
                f"{reel.path}: has sensors {_sensors(reel)}, and {first.path} {_sensors(first)}; "
                "ingest one of them again to match"
            )
        for video in reel.videos:
            if (owner := owners.setdefault(video.name, reel)) is not reel:
                raise UserError(
                    f"{reel.path}: has a recording {video.name!r}, as {owner.path} has; leave one of the reels out, or "
                    "rename the recording at its source"
                )


def _told(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _sensors(reel: Reel) -> str:
    kinds = reel.header["sensors"]
    told = [
        " ".join([name, f"({kind['kind']}:", *kind["fields"], *kind["classes"]]) + ")" for name, kind in kinds.items()
    ]
    return ", ".join(told) or "none"


def _in_memory(reel: Reel) -> Tables:
    """The reel's tables with an index that can be changed."""
    tables = load_tables(reel.path, reel.header)
    tables.index = np.array(tables.index)
    tables.sensors = {name: np.array(rows) for name, rows in tables.sensors.items()}
    return tables


def _provenance(reel: Reel) -> dict[str, Any]:
    kept = {key: reel.header[key] for key in ("origin", "appended", "fingerprint")}
    return {"reel": reel.path.resolve().name, "recordings": len(reel.videos), **kept}


def _leaks_anew(report: dict[str, Any], before: set[str | None], now: str | None) -> dict[str, Any]:
    """The report with what is said `now` of pictures that splits share, in place of what was said `before`."""
    kept = [warning for warning in report.get("warnings", []) if warning not in before]
    return report | {"warnings": [*kept, *([now] if now else [])]}


def _link(shard: Path, to: Path) -> None:
    try:
        os.link(shard, to)
    except OSError:
        shutil.copyfile(shard, to)
