"""The ground seen from above, in square maps drawn once and looked up by every camera: road, marks, grass, shadows."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from roadcast.data.toyroad.road import EDGE, STEP, Course
from roadcast.data.toyroad.scenery import Scenery

ASPHALT, GRAVEL, MARK = (104, 106, 112), (150, 140, 118), (240, 240, 236)
_SHIFT = 4
_STRIPS = ((EDGE + 1.1, -EDGE - 1.1, GRAVEL), (EDGE, -EDGE, ASPHALT), (3.5, 3.28, MARK), (-3.28, -3.5, MARK))
_MIDDLE = 0.11
_DASH, _PERIOD = 2, 6
_TEXEL, _TILE = 0.5, 512
_KEPT = 6


@dataclass(frozen=True)
class Level:
    """Ground from `near` to `far` m of depth, `texel` m a map pixel; a map has `half` m to each side of its middle.

    Middles lie on a grid of `grid` m, so the map that a view looks up is a function of the view alone.
    """

    near: float
    far: float
    texel: float
    half: float
    grid: float


LEVELS = (
    Level(near=0.0, far=12.0, texel=0.1, half=20.0, grid=16.0),
    Level(near=12.0, far=40.0, texel=0.3, half=52.5, grid=32.0),
    Level(near=40.0, far=400.0, texel=0.65, half=182.0, grid=64.0),
)


class BirdsEye:
    """Maps [N, N, 4] uint8 of what the ground looks like under white light, rows along y and columns along x."""

    def __init__(self, course: Course, scenery: Scenery, shade: float):
        self._course = course
        self._scenery = scenery
        self._dark = round(255 * (1 - shade))
        self._maps: dict[tuple[int, int, int], np.ndarray] = {}

    def map_at(self, level: int, x: float, y: float, s: float) -> tuple[np.ndarray, float, float]:
        """The map whose middle is nearest to x, y (m), and x, y of its first pixel; `s` (m) is a place nearby."""
        grid, half = LEVELS[level].grid, LEVELS[level].half
        i, j = round(x / grid), round(y / grid)
        found = self._maps.get((level, i, j))
        if found is None:
            while len(self._maps) >= _KEPT * len(LEVELS):
                del self._maps[next(iter(self._maps))]
            found = self._maps[level, i, j] = self._draw(LEVELS[level], i * grid - half, j * grid - half, s)
        return found, i * grid - half, j * grid - half

    def _draw(self, level: Level, x0: float, y0: float, near_s: float) -> np.ndarray:
        n = round(2 * level.half / level.texel)
        fine = level is not LEVELS[-1]
        ground = np.array([*np.clip(np.rint(self._scenery.ground), 0, 255), 255], dtype=np.uint8)
        image = np.full((n, n), ground.view(np.uint32)[0]).view(np.uint8).reshape(n, n, 4)
        s, _ = self._course.locate(x0 + level.half, y0 + level.half, near_s)
        reach = 2 * level.half + 60.0
        index = np.arange(math.floor((s - reach) / STEP), math.ceil((s + reach) / STEP))
        index = index if fine else index[index % 3 == 0]
        origin, scale = np.array([x0, y0]), (1 << _SHIFT) / level.texel
        centre_N2, normal_N2 = self._course.samples(index)

        def strip(left: float, right: float, colour: tuple) -> None:
            outline = np.concatenate((centre_N2 + left * normal_N2, (centre_N2 + right * normal_N2)[::-1]))
            outline = np.rint((outline - origin) * scale).astype(np.int32)
            cv2.fillPoly(image, [outline], (*colour, 255), cv2.LINE_AA, _SHIFT)

        for left, right, colour in _STRIPS:
            strip(left, right, colour)
        if fine:
            self._dashes(image, index, origin, scale)
            gain = _texture(x0, y0, level)
            if self._scenery.throws_shadows:
                hulls = [np.rint((h - origin) * scale).astype(np.int32) for h in self._scenery.shadows(s, reach)]
                shade = np.full((n, n), 255, dtype=np.uint8)
                for hull in hulls:
                    cv2.fillConvexPoly(shade, hull, self._dark, cv2.LINE_AA, _SHIFT)
                gain = cv2.multiply(gain, shade, scale=1 / 255)
            cv2.multiply(image, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGBA), dst=image, scale=1 / 128)
        else:
            strip(_MIDDLE, -_MIDDLE, tuple(a + (m - a) * _DASH / _PERIOD for a, m in zip(ASPHALT, MARK)))
        return image

    def _dashes(self, image: np.ndarray, index: np.ndarray, origin: np.ndarray, scale: float) -> None:
        starts = index[(index % _PERIOD == 0) & (index + _DASH <= index[-1])]
        centre_N2, normal_N2 = self._course.samples((starts[:, None] + np.arange(_DASH + 1)).reshape(-1))
        sides = [(centre_N2 + w * normal_N2).reshape(len(starts), _DASH + 1, 2) for w in (_MIDDLE, -_MIDDLE)]
        dashes = np.concatenate((sides[0], sides[1][:, ::-1]), axis=1)
        place = (dashes - origin) * scale
        inside = ((place > 0) & (place < image.shape[0] << _SHIFT)).all(axis=2).any(axis=1)
        dashes = np.rint(place[inside]).astype(np.int32)
        if len(dashes):
            cv2.fillPoly(image, list(dashes), (*MARK, 255), cv2.LINE_AA, _SHIFT)


def _texture(x0: float, y0: float, level: Level) -> np.ndarray:
    """The roughness of the ground from x0, y0 (m) on: a gain [N, N] uint8 with 1 at 128."""
    n, size = round(2 * level.half / _TEXEL), round(2 * level.half / level.texel)
    rows, columns = (np.arange(n) + round(start / _TEXEL) for start in (y0, x0))
    return cv2.resize(_noise()[np.ix_(rows % _TILE, columns % _TILE)], (size, size), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """Roughness [TILE, TILE] uint8 with mean 128 that repeats without a seam; the same in every world."""
    spectrum = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]) * _TILE
    logs = np.log(np.maximum(spectrum, 0.5))
    bands = np.zeros_like(logs)
    for centre, gain in ((12, 8), (50, 11), (150, 9)):
        bands += gain / centre * np.exp(-np.square(logs - math.log(centre)) / 0.5)
    white = np.random.default_rng(8).standard_normal((_TILE, _TILE), dtype=np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * bands, s=white.shape)
    return np.clip(128 + 16 * noise / noise.std(), 40, 216).astype(np.uint8)
