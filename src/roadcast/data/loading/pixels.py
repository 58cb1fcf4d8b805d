"""Pictures of reels decoded into their places in one tensor, in as many threads as one likes."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from roadcast.data.intake.fit import fit
from roadcast.data.loading.room import Room
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.optional import has_extra, load_extra

PART = 16
"""Pictures that a thread decodes in a row: about 4 ms of work, a hundred times what it costs to hand it over."""

DECODE = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""How OpenCV is told to decode a JPEG at 1/n of its size, which leaves out most of the inverse transform."""


class Pixels:
    """The pictures of reels of as many cameras each, at one size: (height, width), else that of the reels.

    A picture of another size is decoded at the least sufficient scale and fitted; where the aspect differs, the middle is kept.
    OpenCV decodes, or simplejpeg where it is installed: the same pictures, a fifth faster.
    Raises `UserError` for reels that do not go together.
    """

    def __init__(self, reels: Sequence[Reel], size: tuple[int, int] | None = None):
        self.reels = reels
        self.cameras = alike("cameras", reels, [len(reel.cameras) for reel in reels], "read reels of as many cameras")
        self.height, self.width = size or alike(
            "a size", reels, [(reel.height, reel.width) for reel in reels], "give the size that all are to have"
        )
        self._room = Room()
        self._decode_into = load_extra("turbojpeg", "decoding").decode_into if has_extra("turbojpeg") else None
        self._scales = [reduction(reel.height, reel.width, self.height, self.width) for reel in reels]

    def room(self, batch: int, frames: int) -> Tensor:
        """A tensor uint8 [B, F, V, H, W, 3], not yet filled."""
        return self._room((batch, frames, self.cameras, self.height, self.width, 3), torch.uint8)

    def parts(self, number: int, frames_NF: np.ndarray, places: np.ndarray, out: Tensor) -> list[Callable[[], None]]:
        """The calls that fill `out[places]` with these time steps of reel `number`."""
        reel, scale = self.reels[number], self._scales[number]
        rows = (frames_NF[..., None] * self.cameras + np.arange(self.cameras)).reshape(-1)
        each = rows.size // len(places)
        slots = (places[:, None] * each + np.arange(each)).reshape(-1)
        found = reel.index[rows]
        columns = (rows, slots, *(found[name] for name in ("shard", "offset", "length", "crc32")))
        jobs = list(zip(*(column.tolist() for column in columns), strict=True))
        pictures = out.numpy().reshape(-1, self.height, self.width, 3)
        return [
            partial(_decode, reel, jobs[start : start + PART], scale, pictures, self._decode_into)
            for start in range(0, len(jobs), PART)
        ]


def reduction(height: int, width: int, to_height: int, to_width: int) -> int:
    """By how much, 1, 2, 4 or 8, a JPEG can be reduced in decoding and still be no smaller than is wanted."""
    return max(n for n in DECODE if n == 1 or (-(-height // n) >= to_height and -(-width // n) >= to_width))


def alike(what: str, reels: Sequence[Reel], values: list[Any], remedy: str) -> Any:
    """The one value that all reels have; a `UserError` names the first that differs."""
    for reel, value in zip(reels, values, strict=True):
        if value != values[0]:
            raise UserError(f"{reel.path}: {what} of {value}, but {reels[0].path} has {values[0]}; {remedy}")
    return values[0]


def _decode(
    reel: Reel,
    jobs: list[tuple[int, ...]],
    scale: int,
    pictures: np.ndarray,
    decode_into: Callable[[memoryview, np.ndarray], None] | None,
) -> None:
    """Rows of the reel's index into slots of `pictures` [N, H, W, 3], by `decode_into` where there is nothing to resize."""
    decoded = (-(-reel.height // scale), -(-reel.width // scale), 3)
    as_is = decoded == pictures.shape[1:]
    for row, slot, shard, offset, length, crc in jobs:
        data = reel.shard(shard)[offset : offset + length]
        if len(data) != length or zlib.crc32(data) != crc:
            raise UserError(reel.damage(*divmod(row, len(reel.cameras))))
        if decode_into and as_is and scale == 1:
            decode_into(data, pictures[slot])
            continue
        image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE[scale])
        assert image is not None and image.shape == decoded, f"{reel.path}: row {row} is not a picture of {decoded}"
        image = image if as_is else fit(image, *pictures.shape[1:3], "center")
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=pictures[slot])
