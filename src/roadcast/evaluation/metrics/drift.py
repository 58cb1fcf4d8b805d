"""Drift: how a rollout decays with its length, and whether it has collapsed."""

import cv2
import numpy as np

COLLAPSES = {
    "frozen": "frames change by less than a tenth of what the real ones do, while those do change",
    "black": "mean brightness under a quarter of the real frames'",
    "blank": "contrast (deviation of brightness) under a quarter of the real frames'",
    "saturated": "share of values at either end of the range 0.25 above the real frames', or mean colourfulness "
    "(largest minus smallest of R, G, B) 40 grey levels above",
    "repeating": "most frames come back to an earlier one, five times as near as they were in between, and most real ones do not",
}
RETURN = 0.2
ROWS = 32
"""Frames are compared at this height, where pixels of noise do not count."""


def slope(curve_NH: np.ndarray, fps: float) -> np.ndarray:
    """Least-squares slope of each row against time, in units a second; columns are consecutive frames."""
    seconds = np.arange(curve_NH.shape[1]) / fps
    if len(seconds) < 2:
        return np.zeros(len(curve_NH))
    centred = seconds - seconds.mean()
    return curve_NH @ centred / (centred @ centred)


def collapse(generated_FHWC: np.ndarray, real_FHWC: np.ndarray) -> dict[str, bool]:
    """Whether the last quarter of a rollout has collapsed, by kind (`COLLAPSES`), measured against the real frames.

    Args:
        generated_FHWC, real_FHWC: uint8 RGB of one clip, from the last context frame on, so frame 0 is real in both.
    """
    tail = max(1, (len(real_FHWC) - 1) // 4)
    made, real = (_tail_statistics(video[-tail - 1 :]) for video in (generated_FHWC, real_FHWC))
    return {
        "frozen": bool(real["change"] > 0.5 and made["change"] < 0.1 * real["change"]),
        "black": bool(made["brightness"] < 0.25 * real["brightness"]),
        "blank": bool(made["contrast"] < 0.25 * real["contrast"]),
        "saturated": bool(made["clipped"] > real["clipped"] + 0.25 or made["colour"] > real["colour"] + 40),
        "repeating": bool(returning(generated_FHWC, tail) > 0.5 > returning(real_FHWC, tail)),
    }


def returning(video_FHWC: np.ndarray, tail: int) -> float:
    """Share of the last `tail` frames f that return: for some earlier frame e, `d(f, e) < RETURN max over e < g < f of d(f, g)`.

    d is the mean absolute difference of two frames, in grey levels; what lies between must differ by one or more, or nothing has
    moved. A loop of any length that is seen once and again returns, a flicker between two frames too; a drive does not.
    """
    small = np.stack([_reduced(frame) for frame in video_FHWC])
    found = 0
    for f in range(len(small) - tail, len(small)):
        apart = np.abs(small[:f] - small[f]).mean(axis=(1, 2, 3))[::-1]  # from the frame before to the first
        furthest = np.maximum.accumulate(apart)[:-1]
        found += bool(np.any((furthest > 1) & (apart[1:] < RETURN * furthest)))
    return found / tail


def _reduced(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    size = (max(1, round(width * ROWS / height)), ROWS)
    small = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA) if height > ROWS else frame_HWC
    return small.astype(np.float32)


def _tail_statistics(video_FHWC: np.ndarray) -> dict[str, float]:
    video = video_FHWC.astype(np.float32)
    brightness = video[1:].mean(axis=-1)
    return {
        "change": float(np.abs(np.diff(video, axis=0)).mean()),
        "brightness": float(brightness.mean()),
        "contrast": float(brightness.std(axis=(1, 2)).mean()),
        "clipped": float(((video[1:] <= 2) | (video[1:] >= 253)).mean()),
        "colour": float((video[1:].max(axis=-1) - video[1:].min(axis=-1)).mean()),
    }
