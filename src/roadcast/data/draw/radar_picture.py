"""A radar's picture of the ground, with boxes drawn in where its scale is known."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from roadcast.data.draw.boxes import Boxes
from roadcast.data.draw.canvas import scaled


def draw_radar_picture(
    picture: np.ndarray, side: int, calibration: dict[str, Any], drawn: Sequence[Boxes]
) -> np.ndarray:
    """A picture uint8 [H, W] of the ground, the sensor in its middle looking up, in a square of `side` pixels.

    Boxes, in the sensor's frame, are drawn in where `calibration` has "metres_per_pixel".
    """
    longest = max(picture.shape[:2])
    height, width = (max(1, round(side * extent / longest)) for extent in picture.shape[:2])
    image = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    image[top : top + height, left : left + width] = scaled(picture, height, width)
    if (metres := calibration.get("metres_per_pixel")) is not None:
        scale = side / longest / float(metres)
        for boxes in drawn:
            for floor, colour in zip(boxes.corners[:, :4], boxes.colours, strict=True):
                uv = np.rint(np.stack([side / 2 - scale * floor[:, 1], side / 2 - scale * floor[:, 0]], 1))
                cv2.polylines(image, [uv.astype(np.int32)], True, colour, 1, cv2.LINE_AA)
    return image
