"""Complete pieces put together to tables; their shards lie where they are already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.reel.layout import shard_name, shard_number
from roadcast.data.reel.piece import load_piece
from roadcast.data.reel.tables import Tables, join_tables
from roadcast.data.splits.split import SPLITS, assign_splits, shared_pictures


def join_pieces(partial: Path, pieces: list[dict[str, Any]], base: Tables | None = None) -> Tables:
    """The tables of `pieces` (as `complete_pieces` gives them) behind those of `base`, if there is one.

    Shards of pieces are numbered on from those of `base`. What came of one recording of the source gets one split, if there
    are enough of these; recordings of `base` keep theirs. Raises `UserError` as `join_tables` does.
    """
    parts = [load_piece(partial, piece) for piece in pieces]
    if base is not None:
        shift_shards(parts, next_shard(base))
    _assign_splits([row for part in parts for row in part.videos])
    for part in parts:
        for row in part.videos:
            del row["group"]
    return join_tables([*([base] if base else []), *parts])


def next_shard(tables: Tables) -> int:
    """The first number that no shard has yet."""
    return max(map(shard_number, tables.shards), default=-1) + 1


def shift_shards(parts: list[Tables], by: int) -> None:
    """Number the shards of `parts` on by so many; their arrays must be in memory."""
    for part in parts:
        part.shards = {shard_name(shard_number(name) + by): shard for name, shard in part.shards.items()}
        for rows in (part.index, *part.sensors.values()):
            rows["shard"] += by


def _assign_splits(rows: list[dict[str, Any]]) -> None:
    free = [row for row in rows if row["split"] is None]
    key = "group" if len({row["group"] for row in free}) >= len(SPLITS) else "name"
    splits = assign_splits(row[key] for row in free)
    for row in free:
        row["split"] = splits[row[key]]


def leaks(index: np.ndarray, splits: Sequence[str]) -> str | None:
    """A warning if pictures of the other splits are, byte for byte, in train as well; `splits` has that of each recording."""
    trains = np.array([split == "train" for split in splits])[index["video"]]
    shared = shared_pictures(index[trains], index[~trains])
    if not len(shared):
        return None
    names = f"{len(shared)} of {int((~trains).sum())} pictures of val and test"
    return f"{names} are in train too, byte for byte; ingest them apart, or leave copies out, before judging a model by them"
