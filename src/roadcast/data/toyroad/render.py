"""Draws a view of a world: sky and lit ground, shadows of cars, then the solids from far to near, then rain."""

from functools import lru_cache

import cv2
import numpy as np

from roadcast.data.toyroad.backdrop import Backdrop
from roadcast.data.toyroad.brush import paint
from roadcast.data.toyroad.camera import View
from roadcast.data.toyroad.carshadow import shade_cars
from roadcast.data.toyroad.carsketch import CarSketcher, cars_in_view
from roadcast.data.toyroad.paint import SHIFT
from roadcast.data.toyroad.sketch import Sketchbook, joined
from roadcast.data.toyroad.solids import Solids
from roadcast.data.toyroad.traffic import Traffic

_SHOWERS = 12


class Renderer:
    """Draws the pictures of one world."""

    def __init__(self, backdrop: Backdrop):
        self._backdrop = backdrop
        self._weather = backdrop.weather
        self._book = Sketchbook(backdrop.weather)
        self._sketchers: dict[float, CarSketcher] = {}

    def picture(self, view: View, s: float, standing: Solids, traffic: Traffic, frame: int) -> np.ndarray:
        """The picture [H, W, 3], RGB uint8, of a view near arc length `s` (m); `frame` moves the rain."""
        camera, weather = view.camera, self._weather
        image = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        self._backdrop.draw(image, view, s)
        sketch = self._book.at(view, standing)
        cars = cars_in_view(view, traffic)
        if cars:
            shade_cars(image, view, weather, cars)
            sketch = joined(sketch, self._sketcher(camera.focal).sketch(cars, sketch.origin_2))
        paint(image, view, weather, sketch)
        if weather.name == "rain":
            cv2.add(image, _shower(*image.shape[:2], frame % _SHOWERS), dst=image)
        return image

    def _sketcher(self, focal: float) -> CarSketcher:
        if focal not in self._sketchers:
            self._sketchers[focal] = CarSketcher(self._weather, focal)
        return self._sketchers[focal]


@lru_cache(maxsize=4 * _SHOWERS)
def _shower(height: int, width: int, number: int) -> np.ndarray:
    """Rain streaks [H, W, 3] to add to a picture."""
    rng = np.random.default_rng([9, number])
    streaks = np.zeros((height, width, 3), dtype=np.uint8)
    n = 45
    start = rng.uniform((0, -0.1), (1, 1), (n, 2)) * (width, height)
    length = rng.uniform(0.03, 0.09, (n, 1)) * height
    ends = start + length * (start - (0.5 * width, -1.2 * height)) / height
    lines = np.rint(np.stack((start, ends), axis=1) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(streaks, list(lines), False, (34, 36, 40), 1, cv2.LINE_AA, SHIFT)
    return streaks
