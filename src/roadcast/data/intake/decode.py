"""Video files to RGB frames with times, by the decoder that is chosen; a file that is not whole is refused by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from roadcast.data.intake import opencv
from roadcast.data.intake.video_checks import check_whole
from roadcast.optional import has_extra, load_extra

DECODERS = ("pyav", "opencv", "torchcodec")
"""The one that tells most of damage first; TorchCodec, which tells least, is used where it is asked for."""

_decoder: ContextVar[str | None] = ContextVar("decoder", default=None)


def read_video(path: Path, rate: float | None = None) -> Iterator[tuple[int, np.ndarray | None]]:
    """(t_ns from the file's own start, RGB uint8 HWC) of every frame of a video, in the order in which they are shown, upright.

    Times are the container's; a raw stream, which has none, is read at `rate` frames per second. A frame without a time
    has that of the one before. A picture that is damaged, or leans on one that is, is None. Raises `UserError` for a file
    that is no video, for a raw stream when no rate is stated, for pictures beyond the pixel limit, and, at its end, for a
    file that gave fewer frames than its container counts or of which more than 2 frames and 2 % are damaged.
    """
    check_whole(path)
    decoder = _decoder.get() or best_decoder()
    reader = opencv if decoder == "opencv" else load_extra(decoder, f"reading {path} with the decoder {decoder}")
    yield from reader.read(path, rate)


def decoder_is_there(name: str) -> bool:
    """Whether the package of one of DECODERS is installed."""
    return name == "opencv" or has_extra(name)


def best_decoder() -> str:
    """The first of DECODERS that is installed."""
    return next(name for name in DECODERS if decoder_is_there(name))


@contextmanager
def decoding(decoder: str | None) -> Iterator[None]:
    """Videos are read by `decoder`, one of DECODERS, inside the block; by the best there is if it is None."""
    token = _decoder.set(decoder)
    try:
        yield
    finally:
        _decoder.reset(token)
