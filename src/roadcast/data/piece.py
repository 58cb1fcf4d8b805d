"""A recording on its way into a reel: its pictures in a shard, then its rows, with which it is complete."""

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roadcast.data.actions import SIGNALS
from roadcast.data.encode import Encoder, Prepare
from roadcast.data.layout import INDEX, shard_name
from roadcast.data.sources.base import Images, Recording
from roadcast.errors import UserError
from roadcast.files import replacing, sha256, write_file

AHEAD = 8
"""Time steps an encoder's thread may be ahead of the file."""


@contextmanager
def new_piece(partial: Path, ordinal: int, recording: Recording, encoder: Encoder) -> "Iterator[Piece]":
    """The piece of the source's recording number `ordinal`, to be filled; it is complete when the block ends without an error."""
    shard = partial / "reel" / "shards" / shard_name(ordinal)
    with replacing(shard) as beside, open(beside, "wb") as file:
        piece = Piece(ordinal, recording, file, encoder)
        try:
            yield piece
        finally:
            piece.forget_pending()
    columns = join_signals([(row["frames"], signals) for row, signals in zip(piece.rows, piece.signals, strict=True)])
    table = np.concatenate([np.zeros(0, INDEX), *piece.tables])
    with replacing(_file(partial, ordinal, ".npz")) as beside, open(beside, "wb") as file:
        np.savez(file, index=table, **columns)
    contents = {
        "ordinal": ordinal, "name": recording.name, "rows": piece.rows, "bytes": shard.stat().st_size,
        "sha256": sha256(shard), "report": piece.report,
    }  # fmt: skip
    write_file(_file(partial, ordinal, ".json"), lambda beside: beside.write_text(json.dumps(contents)))


def complete_piece(partial: Path, ordinal: int) -> dict[str, Any] | None:
    """What was written last of a piece (ordinal, name, rows, bytes, sha256, report), or None if it is not complete."""
    file = _file(partial, ordinal, ".json")
    return json.loads(file.read_text()) if file.exists() else None


def complete_pieces(partial: Path) -> list[dict[str, Any]]:
    """`complete_piece` of all that are, in the order of the source."""
    return [json.loads(file.read_text()) for file in sorted((partial / "pieces").glob("*.json"))]


def load_piece(partial: Path, ordinal: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The index rows of a complete piece, INDEX [frames * cameras], and its signals."""
    with np.load(_file(partial, ordinal, ".npz")) as arrays:
        return arrays["index"], {name: arrays[name] for name in arrays.files if name != "index"}


def join_signals(stretches: Sequence[tuple[int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The signals of stretches (frames, signals by name) end to end: float32 [all frames] or [.., k], NaN where one lacks it."""
    joined = {}
    for name, width in SIGNALS.items():
        tail = () if width == 1 else (width,)
        if any(name in signals for _, signals in stretches):
            columns = [s[name] if name in s else np.full((n, *tail), np.nan, np.float32) for n, s in stretches]
            joined[name] = np.concatenate(columns)
    return joined


class Piece:
    """Runs of frames of one recording, each to be a video of the reel: begin, put, put, ..., end or abandon; and again."""

    def __init__(self, ordinal: int, recording: Recording, shard: BinaryIO, encoder: Encoder):
        self.ordinal, self.recording = ordinal, recording
        self.report: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.tables: list[np.ndarray] = []
        self.signals: list[dict[str, np.ndarray]] = []
        self._shard, self._encoder = shard, encoder
        self._pending: deque[tuple[int, Future[list[bytes]]]] = deque()

    def begin(self, name: str) -> None:
        """Start a run of frames, which will be the reel's video `name`."""
        self._run = _Run(name, first_byte=self._shard.tell())

    def put(self, t_ns: int, images: Images, prepare: Prepare | None = None) -> None:
        """Add the pictures (RGB uint8 HWC, one per camera) taken at `t_ns`; `prepare` brings one to the reel's size."""
        self._pending.append((t_ns, self._encoder.submit(images, prepare)))
        if len(self._pending) > AHEAD * self._encoder.workers:
            self._store(*self._pending.popleft())

    def end(self, calibration: dict[str, Any] | None, max_gap_ns: float = float("inf")) -> None:
        """Close the run, with the recording's signals at the frames' times (`Signal.at`) and `calibration` in the reel's pixels.

        Raises `UserError` for a signal whose name is not in SIGNALS.
        """
        while self._pending:
            self._store(*self._pending.popleft())
        run, recording = self._run, self.recording
        assert run.table, f"{run.name}: a recording without frames"
        for name in recording.signals:
            if name not in SIGNALS:
                raise UserError(f"{run.name}: signal {name!r} is unknown; known: {', '.join(SIGNALS)}")
        table = np.array(run.table, INDEX)
        t_ns = table["t_ns"][:: self._encoder.cameras]
        signals = {name: recording.signals[name].at(t_ns, max_gap_ns) for name in sorted(recording.signals)}
        run.content.update(t_ns.tobytes())
        for name, column in signals.items():
            assert column[0].size == SIGNALS[name], f"{run.name}: {name} has {column[0].size} values a frame"
            run.content.update(name.encode() + column.tobytes())
        self.rows.append({
            "name": run.name, "source": recording.source, "split": recording.split, "group": recording.name,
            "frames": len(t_ns), "t0_ns": int(t_ns[0]), "calibration": calibration, "sha256": run.content.hexdigest(),
        })  # fmt: skip
        self.tables.append(table)
        self.signals.append(signals)

    def abandon(self) -> None:
        """Forget the run as if it had not begun."""
        self.forget_pending()
        self._shard.seek(self._run.first_byte)
        self._shard.truncate()

    def forget_pending(self) -> None:
        """Let go of the pictures that are not in the file yet."""
        for _, coded in self._pending:
            coded.cancel()
        self._pending.clear()

    def _store(self, t_ns: int, coded: "Future[list[bytes]]") -> None:
        for data in coded.result():
            self._run.table.append((0, t_ns, self.ordinal, self._shard.tell(), len(data), zlib.crc32(data)))
            self._run.content.update(data)
            self._shard.write(data)


@dataclass
class _Run:
    """A run that is being written: where it began in the shard, its INDEX rows, and the digest of its contents so far."""

    name: str
    first_byte: int
    table: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    content: Any = field(default_factory=hashlib.sha256)


def _file(partial: Path, ordinal: int, suffix: str) -> Path:
    return partial / "pieces" / f"{ordinal:05d}{suffix}"
