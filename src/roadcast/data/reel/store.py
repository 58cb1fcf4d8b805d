"""The reel: driving video in one folder, any frame found by arithmetic and read from a memory map."""

import gc
import mmap
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.reel.layout import INDEX, read_header, remedy, shard_name, shard_number
from roadcast.data.reel.readings import Readings
from roadcast.data.reel.tables import Tables, load_tables
from roadcast.errors import UserError
from roadcast.files import sha256


class Video(NamedTuple):
    """One recording of a reel: its frames are rows `first` to `first + frames` of the reel's time steps.

    sensors   by name, the number of its first reading and how many it has; see `Reel.sensors`
    """

    name: str
    source: str
    split: str
    first: int
    frames: int
    t0_ns: int
    calibration: dict[str, Any] | None
    sensors: dict[str, tuple[int, int]]
    sha256: str


class Reel:
    """The read side of a reel; opening touches no pixels, and a pickled reel is only its path.

    fps                    time steps a second; `height` and `width` are those of every picture, in pixels
    frames                 time steps of all `videos` together, each of one picture a camera
    t_ns                   int64 [frames], when each was taken
    index                  INDEX [frames * cameras]; each picture has the time its own camera took it
    sensors                by name, LiDAR, radar, boxes: readings at their own times
    signals                by name, float32 [frames] or [frames, k], SI units, NaN where unknown
    fingerprint            SHA-256 of the rows of all videos, which hold those of pictures, times and signals
    Raises `UserError` if `path` is no reel, is of a newer schema, or lacks a file or a part of one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with _uncollected():
            self.header, tables, sizes = self._open()
            self.videos = list(map(Video._make, map(itemgetter(*Video._fields), tables.videos)))
        self.fps: float = self.header["fps"]
        self.height: int = self.header["height"]
        self.width: int = self.header["width"]
        self.cameras: list[str] = self.header["cameras"]
        self.frames: int = self.header["frames"]
        self.fingerprint: str = self.header["fingerprint"]
        self.index, self.signals = tables.index, tables.signals
        self._check_whole(tables, sizes)
        self.t_ns: np.ndarray = self.index["t_ns"][:: len(self.cameras)]
        self.sensors = {name: self._sensor(name, rows) for name, rows in tables.sensors.items()}
        self._maps: dict[int, memoryview] = {}

    def _open(self) -> tuple[dict[str, Any], Tables, dict[str, int]]:
        """Header, tables and sizes of shards; once more from the start if the reel was appended to in between."""
        header = read_header(self.path)
        while True:
            try:
                return header, load_tables(self.path, header), _sizes(self.path / "shards")
            except (OSError, ValueError, TypeError, KeyError) as error:
                if (now := read_header(self.path)) != header:
                    header = now
                    continue
                raise UserError(f"{self.path}: the reel is not whole ({error}); {remedy(self.path)}") from None

    def __reduce__(self):
        return Reel, (self.path,)

    def jpeg(self, frame: int, camera: int = 0) -> memoryview:
        """The encoded picture as a slice of the memory map: no copy, no check."""
        row = self._row(frame, camera)
        offset = int(row["offset"])
        return self.shard(int(row["shard"]))[offset : offset + int(row["length"])]

    def read(self, frame: int, camera: int = 0, out: np.ndarray | None = None) -> np.ndarray:
        """One picture, RGB uint8 [height, width, 3], written to `out` if given.

        Raises `UserError` that names shard, recording, frame and offset if the bytes do not match their checksum.
        """
        if not (0 <= frame < self.frames and 0 <= camera < len(self.cameras)):
            counts = f"there are {self.frames} frames of {len(self.cameras)} cameras"
            raise UserError(f"{self.path}: no frame {frame} of camera {camera}; {counts}")
        data = self.jpeg(frame, camera)
        if (damage := self.damage(frame, camera, data)) is not None:
            raise UserError(damage)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image is not None and image.shape == (self.height, self.width, 3)
        if out is None:
            return image
        assert out.shape == image.shape and out.dtype == np.uint8
        out[...] = image
        return out

    def actions(self, first: int, frames: int, stride: int, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Controls at time steps first, first + stride, ...: values float32 [F, A], known bool [F, A]; unknown is 0, False.

        Raises `UserError` for a name that is not in ACTIONS.
        """
        values = np.zeros((frames, len(names)), np.float32)
        known = np.zeros((frames, len(names)), bool)
        for a, name in enumerate(names):
            if name not in ACTIONS:
                raise UserError(f"action {name!r} is unknown; choose from {', '.join(ACTIONS)}")
            if name in self.signals:
                signal = self.signals[name][first : first + frames * stride : stride]
                known[:, a] = np.isfinite(signal)
                values[:, a] = np.where(known[:, a], signal, 0)
        return values, known

    def video_of(self, frame: int) -> Video:
        """The recording a time step belongs to."""
        return self.videos[int(self._row(frame)["video"])]

    def verify(self) -> list[str]:
        """Every damaged picture, reading and file, named; an empty list if every byte is as it was written."""
        folder = self.path / self.header["tables"]
        with ThreadPoolExecutor() as pool:
            names = self.header["files"]
            bad_files = [
                name for name, sum_ in zip(names, pool.map(lambda n: sha256(folder / n), names)) if sum_ != names[name]
            ]
            shards = self.header["shards"]
            sums = pool.map(lambda name: sha256(self.path / "shards" / name), shards)
            bad = {shard_number(name) for name, sum_ in zip(shards, sums) if sum_ != shards[name]["sha256"]}
        damages = [f"{folder / name}: does not match its checksum; {remedy(self.path)}" for name in bad_files]
        suspects = {shard_number(name) for name in shards} if bad_files else bad
        found = list(self._damages_in(suspects))
        named = {shard for shard, _ in found}
        damages += [damage for _, damage in found]
        for shard in sorted(bad - named):
            damages.append(f"{self.path}/shards/{shard_name(shard)}: damaged between its pictures; {remedy(self.path)}")
        return damages

    def _damages_in(self, shards: set[int]) -> Iterator[tuple[int, str]]:
        views = len(self.cameras)
        wanted = list(shards)
        for row in np.flatnonzero(np.isin(self.index["shard"], wanted)).tolist():
            if (damage := self.damage(row // views, row % views)) is not None:
                yield int(self.index["shard"][row]), damage
        for sensor in self.sensors.values():
            for reading in np.flatnonzero(np.isin(sensor.index["shard"], wanted)).tolist():
                if (damage := sensor.damage(reading)) is not None:
                    yield int(sensor.index["shard"][reading]), damage

    def _row(self, frame: int, camera: int = 0) -> np.void:
        return self.index[frame * len(self.cameras) + camera]

    def _check_whole(self, tables: Tables, sizes: dict[str, int]) -> None:
        if tables.digest != self.fingerprint:
            raise UserError(
                f"{self.path}/videos.jsonl: does not match the fingerprint in reel.json; {remedy(self.path)}"
            )
        rows = self.frames * len(self.cameras)
        indexed = self.index.dtype == INDEX and self.index.shape == (rows,)
        if not indexed or any(len(signal) != self.frames for signal in self.signals.values()):
            raise UserError(
                f"{self.path}: index.npy or a signal has not {rows} rows as reel.json says; {remedy(self.path)}"
            )
        for name, readings in tables.sensors.items():
            told = sum(video.sensors.get(name, (0, 0))[1] for video in self.videos)
            if readings.dtype != INDEX or readings.shape != (told,):
                raise UserError(f"{self.path}: sensors/{name}.npy has not {told} rows; {remedy(self.path)}")
        for name, shard in self.header["shards"].items():
            if sizes.get(name) != (told := shard["bytes"]):
                there = f"{sizes[name]} bytes, should be {told}" if name in sizes else "is missing"
                raise UserError(f"{self.path}/shards/{name}: {there}; {remedy(self.path)}")

    def _sensor(self, name: str, index: np.ndarray) -> Readings:
        spans = [video.sensors.get(name, (0, 0)) for video in self.videos]
        where = f"{self.path}/shards/{{shard:05d}}.bin: {{what}}: does not match its checksum; {remedy(self.path)}"
        return Readings(name, self.header["sensors"][name], index, spans, self._bytes, where)

    def _bytes(self, shard: int, offset: int, length: int) -> memoryview:
        return self.shard(shard)[offset : offset + length]

    def damage(self, frame: int, camera: int, data: memoryview | None = None) -> str | None:
        """What is wrong with the bytes of a picture, or None."""
        row = self._row(frame, camera)
        data = self.jpeg(frame, camera) if data is None else data
        if len(data) == row["length"] and zlib.crc32(data) == row["crc32"]:
            return None
        video = self.video_of(frame) if self._row(frame)["video"] < len(self.videos) else None
        where = f"frame {frame}" + (f" ({frame - video.first} of {video.name!r})" if video else "")
        where += f", camera {self.cameras[camera]!r}, offset {row['offset']}"
        shard = f"{self.path}/shards/{shard_name(int(row['shard']))}"
        return f"{shard}: {where}: does not match its checksum; {remedy(self.path)}"

    def shard(self, shard: int) -> memoryview:
        """The bytes of a shard, a read-only memory map that is shared with every process that reads it."""
        if (view := self._maps.get(shard)) is None:
            name = shard_name(shard)
            if name not in self.header["shards"]:
                raise UserError(
                    f"{self.path}/index.npy: names {name}, which the reel does not have; {remedy(self.path)}"
                )
            with open(self.path / "shards" / name, "rb") as file:
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._maps[shard] = view
        return view


def _sizes(folder: Path) -> dict[str, int]:
    """The sizes in bytes of the files in a folder, by name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with os.scandir(descriptor) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}
    finally:
        os.close(descriptor)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage while rows are parsed: of ten thousand recordings none is, and the search takes a fifth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
