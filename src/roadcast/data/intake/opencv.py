"""Video files by OpenCV, which is always there."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.intake.complaints import overheard
from roadcast.data.intake.limits import check_size
from roadcast.data.intake.video_checks import FORMATS, Tally, no_times, not_a_video
from roadcast.errors import UserError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "16")  # errors alone; OpenCV reads it when it opens the first video
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", f"protocol_whitelist;file|format_whitelist;{FORMATS}")


def read(path: Path, rate: float | None) -> Iterator[tuple[int, np.ndarray]]:
    """`read_video` by OpenCV: of damage it tells no more than that there is some, so a damaged file is refused whole."""
    with overheard():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    tally = Tally(path)
    try:
        if not capture.isOpened():
            raise not_a_video(path)
        check_size(path, *(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)))
        counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        timeless = False
        while True:
            with overheard() as complaints:
                good, image = capture.read()
            if complaints:
                raise UserError(
                    f"{path}: is damaged near frame {tally.frames} ({complaints[0]}); copy it again, or install PyAV to keep the rest"
                )
            if not good:
                break
            ms = capture.get(cv2.CAP_PROP_POS_MSEC)
            timeless = timeless or (tally.frames == 1 and ms <= 0)
            if timeless and rate is None:
                raise no_times(path)
            t_ns = tally.frames / rate * 1e9 if timeless and rate else ms * 1e6
            yield round(t_ns), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            tally.frames += 1
    finally:
        capture.release()
    tally.check(counted)
