"""Films in the log: an .mp4 that browsers play, and its strip of stills."""

from pathlib import Path

import cv2
import numpy as np

from roadcast.evaluation.video_io import encode, strip

CODECS = ("vp09", "mp4v")
"""By preference: VP9, which every browser plays; MPEG-4 part 2 where OpenCV was built without it."""
STILLS = 6


def save_film(path: Path, frames_FHWC: np.ndarray, fps: float) -> None:
    """Write frames_FHWC uint8 RGB to `path` (.mp4), and `contact_strip` of them beside it as .png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, frames_FHWC, fps)
    path.with_suffix(".png").write_bytes(encode(contact_strip(frames_FHWC), ".png"))


def write_mp4(path: Path, frames_FHWC: np.ndarray, fps: float) -> None:
    """Write frames_FHWC uint8 RGB to `path`, an .mp4; an odd row or column at the edge is left out, for codecs halve colour."""
    height, width = (size // 2 * 2 for size in frames_FHWC.shape[1:3])
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
        if writer.isOpened():
            break
    assert writer.isOpened(), f"OpenCV writes none of {', '.join(CODECS)}"
    for frame in frames_FHWC:
        writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))
    writer.release()


def contact_strip(frames_FHWC: np.ndarray) -> np.ndarray:
    """Up to six frames, evenly spread from the first to the last, side by side: uint8 [H, W', 3]."""
    picks = np.unique(np.linspace(0, len(frames_FHWC) - 1, STILLS).round().astype(int))
    return strip(list(frames_FHWC[picks]))
