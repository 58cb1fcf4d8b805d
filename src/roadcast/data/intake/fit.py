"""Pictures of any size brought to the reel's, and their calibration with them."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

CROPS = ("center", "bottom", "top")


def fit_view(height: int, width: int, to_height: int, to_width: int, crop: str) -> tuple[int, int, int, int]:
    """The part (top, left, height, width) of a picture that has the aspect of to_height x to_width and is as large as can be.

    Of a picture that is too tall, `crop` (one of CROPS) says which part stays; of one that is too wide, the middle does.
    """
    if width * to_height > height * to_width:
        inner = max(1, round(height * to_width / to_height))
        return 0, (width - inner) // 2, height, inner
    inner = max(1, round(width * to_height / to_width))
    return {"top": 0, "center": (height - inner) // 2, "bottom": height - inner}[crop], 0, inner, width


def fit(image: np.ndarray, height: int, width: int, crop: str) -> np.ndarray:
    """`image` HWC cropped to the aspect and resized: areas averaged when it shrinks, linear when it grows."""
    top, left, h, w = fit_view(*image.shape[:2], height, width, crop)
    view = image[top : top + h, left : left + w]
    if (h, w) == (height, width):
        return np.ascontiguousarray(view)
    return cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if h >= height else cv2.INTER_LINEAR)


def fit_calibration(
    calibration: dict[str, Any] | None,
    sizes: dict[str, tuple[int, int]],
    height: int,
    width: int,
    crop: str,
    sensors: Iterable[str] = (),
) -> dict[str, Any] | None:
    """`calibration` of the cameras in `sizes`, with intrinsics in the pixels of a picture that was `fit` to height x width.

    sizes     (height, width) of each camera's pictures before
    sensors   others whose calibration is kept as it is
    With a scale s and a crop that begins at c, a pixel u goes to s * (u + 0.5 - c) - 0.5: centres are at whole numbers.
    """
    if calibration is None:
        return None
    fitted = {name: calibration[name] for name in sensors if name in calibration}
    for name, size in sizes.items():
        if (entry := calibration.get(name)) is None:
            continue
        fitted[name] = dict(entry)
        if "intrinsics" in entry:
            top, left, h, w = fit_view(*size, height, width, crop)
            sx, sy = width / w, height / h
            shift = np.array([[sx, 0, sx * (0.5 - left) - 0.5], [0, sy, sy * (0.5 - top) - 0.5], [0, 0, 1]])
            fitted[name]["intrinsics"] = (shift @ np.array(entry["intrinsics"], np.float64)).tolist()
    return fitted
