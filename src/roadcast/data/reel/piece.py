"""A recording on its way into a reel: its pictures in a shard, then its rows, with which it is complete."""

import hashlib
import json
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roadcast.data.actions import SIGNALS
from roadcast.data.reel.encode import Encoder, Prepare
from roadcast.data.reel.layout import INDEX, shard_name
from roadcast.data.reel.readings import encode_reading
from roadcast.data.reel.tables import Tables, join_tables
from roadcast.data.sources.base import SENSOR_KINDS, Images, Recording, Sensor, Times
from roadcast.errors import UserError
from roadcast.files import replacing, sha256, write_file

AHEAD = 8
"""Time steps an encoder's thread may be ahead of the file."""
ALIGNED = 4
"""Readings begin at multiples of so many bytes, for a view of the memory map to be one of aligned float32."""
ALONE_NS = 500_000_000
"""How far from the frames the only reading of a sensor may be."""


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
    tables = join_tables(piece.runs)
    arrays = {"index": tables.index, **{f"signals/{name}": values for name, values in tables.signals.items()}}
    arrays |= {f"sensors/{name}": rows for name, rows in tables.sensors.items()}
    with replacing(_file(partial, ordinal, ".npz")) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)
    contents = {
        "ordinal": ordinal, "name": recording.name, "rows": tables.videos, "kinds": tables.kinds,
        "bytes": shard.stat().st_size, "sha256": sha256(shard), "report": piece.report,
    }  # fmt: skip
    write_file(_file(partial, ordinal, ".json"), lambda beside: beside.write_text(json.dumps(contents)))


def complete_piece(partial: Path, ordinal: int) -> dict[str, Any] | None:
    """What was written last of a piece (ordinal, name, rows, bytes, sha256, report), or None if it is not complete."""
    file = _file(partial, ordinal, ".json")
    return json.loads(file.read_text()) if file.exists() else None


def report_of(partial: Path, ordinal: int, name: str) -> dict[str, Any] | None:
    """What was reported about recording number `ordinal` if it is complete and of that name, else None."""
    done = complete_piece(partial, ordinal)
    return done["report"] if done and done["name"] == name else None


def complete_pieces(partial: Path) -> list[dict[str, Any]]:
    """`complete_piece` of all that are, in the order of the source."""
    return [json.loads(file.read_text()) for file in sorted((partial / "pieces").glob("*.json"))]


def load_piece(partial: Path, piece: dict[str, Any]) -> Tables:
    """The tables of a complete piece, as `complete_piece` gives it."""
    ordinal = piece["ordinal"]
    with np.load(_file(partial, ordinal, ".npz")) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    signals = {name[8:]: values for name, values in columns.items() if name.startswith("signals/")}
    sensors = {name[8:]: rows for name, rows in columns.items() if name.startswith("sensors/")}
    shards = {shard_name(ordinal): {"bytes": piece["bytes"], "sha256": piece["sha256"]}}
    return Tables(piece["rows"], columns["index"], signals, sensors, piece["kinds"], shards)


class Piece:
    """Runs of frames of one recording, each to be a video of the reel: begin, put, put, ..., end or abandon; and again.

    report    what is to be told of the recording, kept with the piece
    left_out  by sensor, readings that were missing or unreadable
    """

    def __init__(self, ordinal: int, recording: Recording, shard: BinaryIO, encoder: Encoder):
        self.ordinal, self.recording = ordinal, recording
        self.report: dict[str, Any] = {}
        self.runs: list[Tables] = []
        self.left_out: Counter[str] = Counter()
        self._shard, self._encoder = shard, encoder
        self._pending: deque[tuple[Times, Future[list[bytes]]]] = deque()

    def begin(self, name: str) -> None:
        """Start a run of frames, which will be the reel's video `name`."""
        self._run = _Run(name, first_byte=self._shard.tell())

    def put(self, t_ns: Times, images: Images, prepare: Prepare | None = None) -> None:
        """Add the pictures (RGB uint8 HWC, one a camera) taken at `t_ns`, one time or one a camera; `prepare` brings one to size."""
        self._pending.append((t_ns, self._encoder.submit(images, prepare)))
        if len(self._pending) > AHEAD * self._encoder.workers:
            self._store(*self._pending.popleft())

    def end(self, calibration: dict[str, Any] | None, max_gap_ns: float = float("inf")) -> None:
        """Close the run, with the recording's signals at the frames' times (`Signal.at`), the readings of its sensors in that time,
        and `calibration` in the reel's pixels.

        Raises `UserError` for a signal whose name is not in SIGNALS, or a sensor of an unknown kind.
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
        sensors = {name: self._readings(name, sensor, t_ns) for name, sensor in sorted(recording.sensors.items())}
        video = {
            "name": run.name, "source": recording.source, "split": recording.split, "group": recording.name, "first": 0,
            "frames": len(t_ns), "t0_ns": int(t_ns[0]), "calibration": calibration,
            "sensors": {name: [0, len(rows)] for name, rows in sensors.items()}, "sha256": run.content.hexdigest(),
        }  # fmt: skip
        kinds = {
            name: {"kind": sensor.kind, "fields": list(sensor.fields), "classes": list(sensor.classes)}
            for name, sensor in recording.sensors.items()
        }
        self.runs.append(Tables([video], table, signals, sensors, kinds))

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

    def _store(self, t_ns: Times, coded: "Future[list[bytes]]") -> None:
        pictures = coded.result()
        times = t_ns if isinstance(t_ns, tuple) else (t_ns,) * len(pictures)
        for t, data in zip(times, pictures, strict=True):
            self._run.table.append(self._append(t, data))

    def _readings(self, name: str, sensor: Sensor, t_ns: np.ndarray) -> np.ndarray:
        """The INDEX rows of a sensor's readings that go with frames at `t_ns`, up to half a reading's step before and after."""
        if sensor.kind not in SENSOR_KINDS:
            raise UserError(
                f"{self._run.name}: sensor {name!r} is of kind {sensor.kind!r}; known: {', '.join(SENSOR_KINDS)}"
            )
        half = int(np.median(np.diff(sensor.t_ns))) // 2 if len(sensor.t_ns) > 1 else ALONE_NS
        within = (sensor.t_ns >= int(t_ns[0]) - half) & (sensor.t_ns <= int(t_ns[-1]) + half)
        rows = []
        for n in np.flatnonzero(within).tolist():
            if (reading := sensor.read(n)) is None:
                self.left_out[name] += 1
                continue
            self._shard.write(bytes(-self._shard.tell() % ALIGNED))
            rows.append(self._append(int(sensor.t_ns[n]), encode_reading(sensor.kind, sensor.fields, reading)))
        table = np.array(rows, INDEX)
        self._run.content.update(name.encode() + table["t_ns"].tobytes())
        return table

    def _append(self, t_ns: int, data: bytes) -> tuple[int, int, int, int, int, int]:
        row = (0, t_ns, self.ordinal, self._shard.tell(), len(data), zlib.crc32(data))
        self._run.content.update(data)
        self._shard.write(data)
        return row


@dataclass
class _Run:
    """A run that is being written: where it began in the shard, its INDEX rows, and the digest of its contents so far."""

    name: str
    first_byte: int
    table: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    content: Any = field(default_factory=hashlib.sha256)


def _file(partial: Path, ordinal: int, suffix: str) -> Path:
    return partial / "pieces" / f"{ordinal:05d}{suffix}"
