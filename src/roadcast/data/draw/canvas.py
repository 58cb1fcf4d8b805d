"""Panels, words and bars on RGB uint8 pictures, in one set of colours."""

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]

PAPER: Colour = (22, 24, 28)
PANEL: Colour = (34, 37, 43)
RULE: Colour = (62, 67, 76)
QUIET: Colour = (150, 156, 166)
INK: Colour = (232, 234, 237)
BLUE: Colour = (86, 156, 246)
GREEN: Colour = (98, 200, 120)
ORANGE: Colour = (246, 160, 70)
RED: Colour = (235, 92, 84)
YELLOW: Colour = (240, 208, 80)
SPLIT_COLOURS: dict[str, Colour] = {"train": BLUE, "val": ORANGE, "test": GREEN}

FONT = cv2.FONT_HERSHEY_SIMPLEX
GAP = 8


def blank(height: int, width: int, colour: Colour = PANEL) -> np.ndarray:
    """A picture of one colour, uint8 [height, width, 3]."""
    return np.full((height, width, 3), colour, np.uint8)


def write(
    image: np.ndarray, words: str, x: float, y: float, colour: Colour = INK, size: float = 0.42, align: float = 0.0
) -> None:
    """Words with their base line at y; x is their left end, or what share `align` of them lies left of."""
    left = round(x - align * width_of(words, size))
    cv2.putText(image, words, (left, round(y)), FONT, size, colour, 1, cv2.LINE_AA)


def width_of(words: str, size: float = 0.42) -> int:
    """How many pixels wide `write` makes the words."""
    return cv2.getTextSize(words, FONT, size, 1)[0][0]


def shortened(words: str, width: int, size: float = 0.42) -> str:
    """The words, or their beginning and dots where they would be wider than so many pixels."""
    if width_of(words, size) <= width:
        return words
    while words and width_of(words + "..", size) > width:
        words = words[:-1]
    return words + ".."


def label(image: np.ndarray, words: str, size: float = 0.42) -> None:
    """Words in the upper left corner, on a darkened ground that keeps them readable on any picture."""
    words = shortened(words, image.shape[1] - 12, size)
    height, width = round(44 * size) + 2, width_of(words, size) + 12
    image[:height, :width] = image[:height, :width] // 3
    write(image, words, 6, height - 6, size=size)


def scaled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture resized, RGB; a grey one becomes RGB."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    shrinks = width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def grid(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows of so many, with gaps between."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    out = blank(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, PAPER)
    for n, image in enumerate(images):
        top, left = n // columns * (height + GAP), n % columns * (width + GAP)
        out[top : top + height, left : left + width] = image
    return out


def beside(*images: np.ndarray) -> np.ndarray:
    """Pictures from left to right, with gaps between; the height is the largest one's."""
    return _joined(images, axis=1)


def below(*images: np.ndarray) -> np.ndarray:
    """Pictures from top to bottom, with gaps between; the width is the largest one's."""
    return _joined(images, axis=0)


def framed(image: np.ndarray, even: bool = False) -> np.ndarray:
    """The picture with a margin; with `even`, sides of an even number of pixels, as video wants them."""
    bottom, right = (GAP + (side % 2 if even else 0) for side in image.shape[:2])
    return cv2.copyMakeBorder(image, GAP, bottom, GAP, right, cv2.BORDER_CONSTANT, value=PAPER)


def _joined(images: Sequence[np.ndarray], axis: int) -> np.ndarray:
    across = max(image.shape[1 - axis] for image in images)
    shape = [sum(image.shape[axis] for image in images) + GAP * (len(images) - 1)] * 2
    shape[1 - axis] = across
    out = blank(shape[0], shape[1], PAPER)
    at = 0
    for image in images:
        place = (slice(at, at + image.shape[0]), slice(0, image.shape[1]))
        if axis == 1:
            place = (slice(0, image.shape[0]), slice(at, at + image.shape[1]))
        out[place] = image
        at += image.shape[axis] + GAP
    return out
