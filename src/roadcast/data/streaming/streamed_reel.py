"""A reel that may lie anywhere: its tables on this machine, of its pictures only the blocks that were loaded."""

import hashlib
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.reel.layout import parse_header, read_header, shard_name
from roadcast.data.reel.store import Reel
from roadcast.data.reel.tables import Tables, load_tables
from roadcast.data.streaming.cache import DiskCache, locked, usual_cache
from roadcast.data.streaming.folder import Folder, LocalFolder, fetch, open_folder
from roadcast.files import replacing

GAP = 256 * 1024
"""Bytes between two pictures that are rather read along than skipped by a further request."""

Run = tuple[int, memoryview]
"""Bytes of a shard: the offset of the first, and they themselves."""


class StreamedReel(Reel):
    """The read side of a reel of which no shard is opened: frames are there once `load` and `admit` brought their bytes.

    address  a path, or what fsspec takes: http://..., s3://..., memory://...
    cache    a folder for the tables and, up to `cache_bytes`, for bytes of shards; ~/.cache/roadcast if not given
    Raises `UserError` as `Reel` does, and for an address that cannot be read.
    """

    def __init__(self, address: str | Path, cache: Path | None = None, cache_bytes: int = 0):
        self.folder = open_folder(address)
        self._given = address, cache, cache_bytes
        place = Path(cache or usual_cache())
        self._cache = DiskCache(place / "blocks", cache_bytes) if cache_bytes else None
        local = isinstance(self.folder, LocalFolder)
        super().__init__(Path(self.folder.address) if local else fetch_tables(self.folder, place / "tables"))
        self._runs: dict[int, tuple[Run, ...]] = {}

    def __reduce__(self):
        return StreamedReel, self._given

    def _open(self) -> tuple[dict[str, Any], Tables, dict[str, int]]:
        header = read_header(self.path)
        return header, load_tables(self.path, header), {name: told["bytes"] for name, told in header["shards"].items()}

    def shard(self, shard: int) -> "LoadedShard":
        """What is loaded of a shard, to be sliced like all of it."""
        return LoadedShard(self._runs.get(shard, ()))

    def extent(self, first: int, end: int) -> tuple[int, list[tuple[int, int]]]:
        """Where the pictures of frames `first` to `end - 1` of one recording lie: shard number, and (start, end) in bytes.

        That is one run, or several where much else (readings of a LiDAR) lies between.
        """
        rows = self.index[first * len(self.cameras) : end * len(self.cameras)]
        offsets = rows["offset"].astype(np.int64)
        ends = offsets + rows["length"]
        assert (rows["shard"] == rows["shard"][0]).all() and (offsets[1:] >= ends[:-1]).all()
        cuts = np.flatnonzero(offsets[1:] - ends[:-1] > GAP) + 1
        starts = [0, *cuts.tolist()]
        lasts = [*(cuts - 1).tolist(), len(rows) - 1]
        return int(rows["shard"][0]), [(int(offsets[s]), int(ends[e])) for s, e in zip(starts, lasts, strict=True)]

    def load(self, first: int, end: int) -> list[Run]:
        """The bytes of the pictures of frames `first` to `end - 1` of one recording, each held against its checksum.

        May be called in threads. Raises `UserError` that names the object, and what is wrong with it.
        """
        shard, extents = self.extent(first, end)
        rows = self.index[first * len(self.cameras) : end * len(self.cameras)]
        return [(start, memoryview(self._read(shard, start, stop, rows))) for start, stop in extents]

    def admit(self, shard: int, runs: Sequence[Run]) -> None:
        """Have the bytes of these runs at hand, until `dismiss`."""
        self._runs[shard] = tuple(sorted((*self._runs.get(shard, ()), *runs), key=lambda run: run[0]))

    def dismiss(self, shard: int, runs: Sequence[Run]) -> None:
        """Let go of these runs."""
        gone = {id(run) for run in runs}
        self._runs[shard] = tuple(run for run in self._runs[shard] if id(run) not in gone)

    def _read(self, shard: int, start: int, stop: int, rows: np.ndarray) -> bytes:
        def damage(data: bytes) -> str | None:
            view = memoryview(data)
            for offset, length, crc in zip(*(rows[key].tolist() for key in ("offset", "length", "crc32")), strict=True):
                if start <= offset < stop and zlib.crc32(view[offset - start : offset - start + length]) != crc:
                    return f"the picture at offset {offset} does not match its checksum"
            return None

        name = shard_name(shard)
        if self._cache is None:
            return fetch(self.folder, f"shards/{name}", start, stop, damage)
        return self._cache.get(
            f"{self.fingerprint[:32]}-{name}-{start}-{stop}",
            lambda: fetch(self.folder, f"shards/{name}", start, stop, damage),
            lambda data: len(data) == stop - start and damage(data) is None,
        )


class LoadedShard:
    """Sliced by offsets in the shard; the slice must lie in what is loaded."""

    def __init__(self, runs: tuple[Run, ...]):
        self._runs = runs

    def __getitem__(self, part: slice) -> memoryview:
        """The bytes of `part` as a slice of a run, without a copy."""
        for place in range(bisect_right(self._runs, part.start, key=lambda run: run[0]) - 1, -1, -1):
            first, data = self._runs[place]
            if part.stop <= first + len(data):
                return data[part.start - first : part.stop - first]
        raise AssertionError(f"bytes {part.start} to {part.stop} of the shard are not loaded")


def fetch_tables(folder: Folder, place: Path) -> Path:
    """A folder below `place` with all of a reel but its shards, fetched unless it is there; the same tables are kept once.

    Raises `UserError` that names the object if one is missing or damaged.
    """
    text = fetch(folder, "reel.json")
    mend = "copy the reel there again, whole"
    header = parse_header(text.decode(errors="replace"), f"{folder.address}/reel.json", mend)
    path = place / hashlib.sha256(text).hexdigest()[:32]
    with locked(place / ".lock"):
        if not path.exists():
            sums = {"videos.jsonl": header["fingerprint"], **header["files"]}
            with replacing(path) as beside:
                for name, told in sums.items():
                    data = fetch(
                        folder, f"{header['tables']}/{name}", damage=lambda data, told=told: _differs(data, told)
                    )
                    file = beside / header["tables"] / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
                (beside / "reel.json").write_bytes(text)
    return path


def _differs(data: bytes, told: str) -> str | None:
    return None if hashlib.sha256(data).hexdigest() == told else "it does not match its checksum in reel.json"
