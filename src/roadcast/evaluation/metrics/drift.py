"""Drift: how a rollout decays with its length, and whether it has collapsed."""

import numpy as np

COLLAPSES = {
    "frozen": "frames change by less than a tenth of what the real ones do, while those do change",
    "black": "mean brightness under a quarter of the real frames'",
    "blank": "contrast (deviation of brightness) under a quarter of the real frames'",
    "saturated": "share of values at either end of the range 0.25 above the real frames', or mean colourfulness "
    "(largest minus smallest of R, G, B) 40 grey levels above",
}


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
    }


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
