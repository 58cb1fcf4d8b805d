"""Frames to an MP4 file."""

import os
from collections.abc import Iterable
from pathlib import Path

from roadcast.errors import UserError


def write_video(path: Path, frames: Iterable, fps: float, enlarge: int = 1) -> None:
    """Write RGB uint8 frames, enlarged by a whole factor, as an MP4 that is either whole or absent."""
    import cv2

    beside, writer = path.with_name(f".{path.stem}.partial.mp4"), None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        for frame_HWC in frames:
            large_HWC = cv2.resize(frame_HWC, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
            if writer is None:
                size = (large_HWC.shape[1], large_HWC.shape[0])
                writer = cv2.VideoWriter(str(beside), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
                if not writer.isOpened():
                    raise UserError(f"{path}: no video can be written there; choose another place")
            writer.write(cv2.cvtColor(large_HWC, cv2.COLOR_RGB2BGR))
        assert writer is not None
        writer.release()
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
