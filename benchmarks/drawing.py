"""Words, lines and dots on a picture, for the charts of benchmarks: places in points, each SCALE pixels."""

import cv2
import numpy as np

PAPER, INK, QUIET, RULE = (255, 255, 255), (45, 40, 36), (128, 120, 112), (222, 218, 214)  # BGR
SCALE = 2


def write(image: np.ndarray, words: str, x: float, y: float, colour=INK, size: float = 0.4, align: float = 0.0) -> None:
    """Words with their base line at y; x is what share `align` of them lies left of."""
    font, scaled = cv2.FONT_HERSHEY_SIMPLEX, SCALE * size
    (wide, _), _ = cv2.getTextSize(words, font, scaled, 1)
    cv2.putText(image, words, (round(SCALE * x - align * wide), round(SCALE * y)), font, scaled, colour, 1, cv2.LINE_AA)


def line(image: np.ndarray, x1: float, y1: float, x2: float, y2: float, colour, thick: int) -> None:
    """A straight line."""
    a, b = (tuple(round(SCALE * v) for v in point) for point in ((x1, y1), (x2, y2)))
    cv2.line(image, a, b, colour, thick * SCALE, cv2.LINE_AA)


def dot(image: np.ndarray, x: float, y: float, colour) -> None:
    """A filled circle."""
    cv2.circle(image, (round(SCALE * x), round(SCALE * y)), 2 * SCALE, colour, -1, cv2.LINE_AA)
