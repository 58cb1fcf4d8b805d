"""Pictures of cameras that fire apart, matched to moments."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roadcast.data.intake.pictures import read_picture
from roadcast.data.sources.base import Frames


def nearest(t_ns: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
    """The number in `t_ns` (increasing, at least one) of the time nearest to each of `at_ns`, the earlier of two alike."""
    right = np.clip(np.searchsorted(t_ns, at_ns), 0, len(t_ns) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(at_ns - t_ns[left]) <= np.abs(t_ns[right] - at_ns), left, right)


def camera_frames(cameras: Sequence[tuple[Sequence[int], Sequence[Path]]]) -> Frames:
    """Moments of cameras, each given as the times and files of its pictures, all equally many; one camera goes without tuples.

    A moment of which any picture is missing or unreadable has none.
    """
    for moment in zip(*(zip(times, files, strict=True) for times, files in cameras), strict=True):
        images = [read_picture(file) for _, file in moment]
        there = [image for image in images if image is not None]
        whole = len(there) == len(images)
        if len(images) == 1:
            yield int(moment[0][0]), images[0]
        else:
            yield tuple(int(t) for t, _ in moment), tuple(there) if whole else None
