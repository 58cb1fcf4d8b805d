"""Optical flow between consecutive frames: how much the picture moves, which way, and how well motion explains it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np

from roadcast.evaluation.metrics.temporal import warp_error
from roadcast.perception.flow import dense_flow

MAX_ROWS = 128  # larger frames are reduced by area to this height before the flow, whose unit stays the frame's pixel


T = TypeVar("T")


@dataclass(frozen=True)
class Motion:
    """Between frames f and f + 1 of one video, each array [F - 1].

    lateral      mean horizontal flow in pixels of the frame; above 0 the picture moves right, as when turning left
    magnitude    mean length of the flow in pixels of the frame
    warp_error   temporal consistency in grey levels, see `metrics.temporal.warp_error`
    jitter       mean length of the flow's change against the one before, in pixels of the frame; 0 for the first
    """

    lateral: np.ndarray
    magnitude: np.ndarray
    warp_error: np.ndarray
    jitter: np.ndarray


def motion(video_FHWC: np.ndarray) -> Motion:
    """The motion and temporal consistency of one uint8 RGB video."""
    frames, grey, scale = _reduced(video_FHWC)
    rows, before = [], None
    for f in range(len(grey) - 1):
        if np.array_equal(frames[f], frames[f + 1]):
            forward, error = np.zeros((*grey[f].shape, 2), np.float32), 0.0
        else:
            forward, backward = dense_flow(grey[f], grey[f + 1]), dense_flow(grey[f + 1], grey[f])
            error = warp_error(frames[f], frames[f + 1], forward, backward)
        change = 0.0 if before is None else _length(forward - before) * scale
        rows.append((forward[..., 0].mean() * scale, _length(forward) * scale, error, change))
        before = forward
    return Motion(*np.asarray(rows, dtype=np.float64).reshape(-1, 4).T)


def lateral_motion(video_FHWC: np.ndarray) -> np.ndarray:
    """`motion(video).lateral` alone, at a third of the work."""
    _, grey, scale = _reduced(video_FHWC)
    return np.array([dense_flow(a, b)[..., 0].mean() * scale for a, b in pairwise(grey)])


def outward_motion(video_FHWC: np.ndarray) -> np.ndarray:
    """`sum u . r / sum |r|` over pixels, u the flow and r the place from the picture's middle, in pixels of the frame [F - 1].

    What the picture grows by when it is driven into (Longuet-Higgins & Prazdny 1980, "The interpretation of a moving retinal
    image"): faster ahead is more, standing still 0. A shift of the whole picture, as turning makes, adds nothing to it.
    """
    _, grey, scale = _reduced(video_FHWC)
    height, width = grey[0].shape
    r_HW2 = np.stack(np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2), axis=-1)
    distance = np.linalg.norm(r_HW2, axis=-1).sum()
    return np.array([(dense_flow(a, b) * r_HW2).sum() / distance * scale for a, b in pairwise(grey)])


def of_each(measure: Callable[[np.ndarray], T], videos: Sequence[np.ndarray]) -> list[T]:
    """`motion`, `lateral_motion` and the like of several videos at once, on all cores."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(measure, videos))


def _length(flow_HW2: np.ndarray) -> float:
    return float(np.hypot(flow_HW2[..., 0], flow_HW2[..., 1]).mean())


def _reduced(video_FHWC: np.ndarray) -> tuple[Sequence[np.ndarray], list[np.ndarray], float]:
    """The frames at most MAX_ROWS high, in colour and in grey, and how many pixels of the video one of theirs spans."""
    height, width = video_FHWC.shape[1:3]
    scale, frames = max(1.0, height / MAX_ROWS), list(video_FHWC)
    if scale > 1:
        size = (round(width / scale), round(height / scale))
        frames = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    return frames, [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames], scale
