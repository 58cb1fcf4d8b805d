"""Readings of sensors besides cameras: tables of points or boxes, and pictures without loss, as bytes of a shard."""

import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from roadcast.errors import UserError


def encode_reading(kind: str, fields: tuple[str, ...], reading: np.ndarray) -> bytes:
    """The bytes of one reading: rows of float32 for a table [P, len(fields)], PNG for a picture uint8 [H, W] or RGB [H, W, 3]."""
    if kind == "image":
        assert reading.dtype == np.uint8 and reading.ndim in (2, 3), f"image {reading.dtype} {reading.shape}"
        good, data = cv2.imencode(".png", reading if reading.ndim == 2 else cv2.cvtColor(reading, cv2.COLOR_RGB2BGR))
        assert good
        return data.tobytes()
    assert reading.ndim == 2 and reading.shape[1] == len(fields), f"{reading.shape} for columns {fields}"
    return np.ascontiguousarray(reading, "<f4").tobytes()


def decode_reading(kind: str, fields: tuple[str, ...], data: memoryview) -> np.ndarray:
    """What `encode_reading` was given; a table is a view of `data`, not a copy."""
    if kind == "image":
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.frombuffer(data, "<f4").reshape(-1, len(fields))


class Readings:
    """One sensor of a reel: its readings at its own clock, those of a recording side by side.

    kind, fields, classes   as in `roadcast.data.sources.base.Sensor`
    index                   INDEX [readings]
    t_ns                    int64 [readings], increasing within a recording
    """

    def __init__(
        self, name: str, kind: dict[str, Any], index: np.ndarray, spans: list[tuple[int, int]],
        bytes_of: Callable[[int, int, int], memoryview], where: str,
    ):  # fmt: skip
        self.name, self.kind, self.index = name, kind["kind"], index
        self.fields, self.classes = tuple(kind["fields"]), tuple(kind["classes"])
        self.t_ns: np.ndarray = index["t_ns"]
        self._spans, self._bytes_of, self._where = spans, bytes_of, where

    def __len__(self) -> int:
        return len(self.index)

    def of(self, video: int) -> range:
        """The numbers of the readings of a recording of the reel, in order of time; empty where it has none."""
        first, count = self._spans[video]
        return range(first, first + count)

    def nearest(self, video: int, t_ns: int, within_ns: int | None = None) -> int | None:
        """The number of the recording's reading nearest in time, or None if there is none `within_ns`."""
        rows = self.of(video)
        if not rows:
            return None
        times = self.t_ns[rows.start : rows.stop]
        right = int(np.searchsorted(times, t_ns))
        best = min((r for r in (right - 1, right) if 0 <= r < len(times)), key=lambda r: abs(int(times[r]) - t_ns))
        if within_ns is not None and abs(int(times[best]) - t_ns) > within_ns:
            return None
        return rows.start + best

    def read(self, reading: int) -> np.ndarray:
        """Reading number `reading`: float32 [P, len(fields)], a view of the memory map, or uint8 [H, W] or [H, W, 3] of a picture.

        Raises `UserError` that names shard, sensor and offset if the bytes do not match their checksum.
        """
        data = self.raw(reading)
        if (damage := self.damage(reading, data)) is not None:
            raise UserError(damage)
        return decode_reading(self.kind, self.fields, data)

    def raw(self, reading: int) -> memoryview:
        """The bytes of a reading as a slice of the memory map: no copy, no check."""
        row = self.index[reading]
        return self._bytes_of(int(row["shard"]), int(row["offset"]), int(row["length"]))

    def damage(self, reading: int, data: memoryview | None = None) -> str | None:
        """What is wrong with the bytes of a reading, or None."""
        row, data = self.index[reading], self.raw(reading) if data is None else data
        if len(data) == row["length"] and zlib.crc32(data) == row["crc32"]:
            return None
        return self._where.format(
            shard=int(row["shard"]), what=f"reading {reading} of sensor {self.name!r}, offset {row['offset']}"
        )
