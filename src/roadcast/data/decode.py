"""Video files to RGB frames with times, by OpenCV; a file that is not whole is refused by name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from roadcast.errors import UserError
from roadcast.optional import has_extra

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet; OpenCV reads it when it opens the first video

DECODERS = ("pyav", "torchcodec", "opencv")


def decoder_is_there(name: str) -> bool:
    """Whether the package of one of DECODERS is installed."""
    return name == "opencv" or has_extra(name)


def best_decoder() -> str:
    """The first of DECODERS that is installed."""
    return next(name for name in DECODERS if decoder_is_there(name))


@contextmanager
def decoding(decoder: str | None, threads: int) -> Iterator[None]:
    """Videos are read by `decoder` with `threads` threads inside the block."""
    yield


MISSING_SHARE = 0.02
MOST_FRAMES = 10**9


def read_video(path: Path, rate: float | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """(t_ns from the file's own start, RGB uint8 HWC) of every frame of a video.

    Times are the container's; a raw stream, which has none, is read at `rate` frames per second. Raises `UserError` for a
    file that is no video, for a raw stream when no rate is stated, and, at its end, for a file that gave clearly fewer
    frames than its container counts.
    """
    capture = _open(path)
    try:
        if not capture.isOpened():
            raise UserError(
                f"{path}: cannot be opened as a video ({path.stat().st_size} bytes; cut short, or another format); copy or convert it again"
            )
        counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        decoded, timeless = 0, False
        while True:
            good, image = capture.read()
            if not good:
                break
            ms = capture.get(cv2.CAP_PROP_POS_MSEC)
            timeless = timeless or (decoded == 1 and ms <= 0)
            if timeless and rate is None:
                raise UserError(
                    f"{path}: has no times of its own, as raw streams do; state its frames per second with --rate, for example --rate 25"
                )
            t_ns = decoded / rate * 1e9 if timeless and rate else ms * 1e6
            yield round(t_ns), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            decoded += 1
    finally:
        capture.release()
    if not decoded:
        raise UserError(f"{path}: holds no frame that can be decoded; copy or convert it again")
    believable = not timeless and 0 < counted < MOST_FRAMES
    if believable and counted - decoded > max(2, MISSING_SHARE * counted):
        raise UserError(
            f"{path}: {decoded} frames decoded of {counted:.0f} that its container counts, so it is cut short or damaged; copy it again"
        )


def _open(path: Path) -> cv2.VideoCapture:
    """The file opened, without the warnings that OpenCV writes to stderr and our errors say better."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        logging.setLogLevel(level)
