"""The reel: driving video in one folder, any frame found by arithmetic and read from a memory map."""

import hashlib
import json
import mmap
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.layout import INDEX, read_header, remedy, shard_name
from roadcast.errors import UserError
from roadcast.files import sha256


@dataclass(frozen=True)
class Video:
    """One recording of a reel: its frames are rows `first` to `first + frames` of the reel's time steps."""

    name: str
    source: str
    split: str
    first: int
    frames: int
    t0_ns: int
    calibration: dict[str, Any] | None
    sha256: str


class Reel:
    """The read side of a reel; opening touches no pixels, and a pickled reel is only its path.

    fps                    time steps a second; `height` and `width` are those of every picture, in pixels
    frames                 time steps of all `videos` together, each of one picture a camera
    t_ns                   int64 [frames], when each was taken
    index                  INDEX [frames * cameras]
    signals                by name, float32 [frames] or [frames, k], SI units, NaN where unknown
    fingerprint            SHA-256 of the rows of all videos, which hold those of pictures, times and signals
    Raises `UserError` if `path` is no reel, is of a newer schema, or lacks a file or a part of one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.header = read_header(self.path)
        self.fps: float = self.header["fps"]
        self.height: int = self.header["height"]
        self.width: int = self.header["width"]
        self.cameras: list[str] = self.header["cameras"]
        self.frames: int = self.header["frames"]
        self.fingerprint: str = self.header["fingerprint"]
        try:
            text = (self.path / "videos.jsonl").read_bytes()
            self.videos = [Video(**json.loads(line)) for line in text.splitlines()]
            self.index = _map_array(self.path / "index.npy")
            self.signals: dict[str, np.ndarray] = {
                name: _map_array(self.path / "signals" / f"{name}.npy") for name in self.header["signals"]
            }
            sizes = {name: (self.path / "shards" / name).stat().st_size for name in self.header["shards"]}
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.path}: the reel is not whole ({error}); {remedy(self.path)}") from None
        self._check_whole(hashlib.sha256(text).hexdigest(), sizes)
        self.t_ns: np.ndarray = self.index["t_ns"][:: len(self.cameras)]
        self._maps: dict[int, memoryview] = {}

    def __reduce__(self):
        return Reel, (self.path,)

    def jpeg(self, frame: int, camera: int = 0) -> memoryview:
        """The encoded picture as a slice of the memory map: no copy, no check."""
        row = self._row(frame, camera)
        offset = int(row["offset"])
        return self._shard(int(row["shard"]))[offset : offset + int(row["length"])]

    def read(self, frame: int, camera: int = 0, out: np.ndarray | None = None) -> np.ndarray:
        """One picture, RGB uint8 [height, width, 3], written to `out` if given.

        Raises `UserError` that names shard, recording, frame and offset if the bytes do not match their checksum.
        """
        if not (0 <= frame < self.frames and 0 <= camera < len(self.cameras)):
            counts = f"there are {self.frames} frames of {len(self.cameras)} cameras"
            raise UserError(f"{self.path}: no frame {frame} of camera {camera}; {counts}")
        data = self.jpeg(frame, camera)
        if (damage := self._damage(frame, camera, data)) is not None:
            raise UserError(damage)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (self.height, self.width, 3)
        if out is None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        assert out.shape == image.shape and out.dtype == np.uint8 and out.flags.c_contiguous
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out)

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
        """Every damaged picture and file, named; an empty list if every byte is as it was written."""
        damages = [
            f"{self.path}/{name}: does not match its checksum; {remedy(self.path)}"
            for name, told in self.header["files"].items()
            if sha256(self.path / name) != told
        ]
        for frame in range(self.frames):
            for camera in range(len(self.cameras)):
                if (damage := self._damage(frame, camera, self.jpeg(frame, camera))) is not None:
                    damages.append(damage)
        return damages

    def _row(self, frame: int, camera: int = 0) -> np.void:
        return self.index[frame * len(self.cameras) + camera]

    def _check_whole(self, fingerprint: str, sizes: dict[str, int]) -> None:
        if fingerprint != self.fingerprint:
            raise UserError(
                f"{self.path}/videos.jsonl: does not match the fingerprint in reel.json; {remedy(self.path)}"
            )
        rows = self.frames * len(self.cameras)
        indexed = self.index.dtype == INDEX and self.index.shape == (rows,)
        if not indexed or any(len(signal) != self.frames for signal in self.signals.values()):
            raise UserError(
                f"{self.path}: index.npy or a signal has not {rows} rows as reel.json says; {remedy(self.path)}"
            )
        for name, size in sizes.items():
            if size != (told := self.header["shards"][name]["bytes"]):
                raise UserError(f"{self.path}/shards/{name}: {size} bytes, should be {told}; {remedy(self.path)}")

    def _damage(self, frame: int, camera: int, data: memoryview) -> str | None:
        row = self._row(frame, camera)
        if len(data) == row["length"] and zlib.crc32(data) == row["crc32"]:
            return None
        video = self.video_of(frame) if self._row(frame)["video"] < len(self.videos) else None
        where = f"frame {frame}" + (f" ({frame - video.first} of {video.name!r})" if video else "")
        where += f", camera {self.cameras[camera]!r}, offset {row['offset']}"
        shard = f"{self.path}/shards/{shard_name(int(row['shard']))}"
        return f"{shard}: {where}: does not match its checksum; {remedy(self.path)}"

    def _shard(self, shard: int) -> memoryview:
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


def _map_array(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r"))
