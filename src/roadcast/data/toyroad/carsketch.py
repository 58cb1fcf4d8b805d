"""The cars of a picture: their sketch is made anew in every frame, for they move."""

import math
from bisect import bisect

import numpy as np

from roadcast.data.toyroad import things
from roadcast.data.toyroad.camera import View
from roadcast.data.toyroad.sketch import Sketch, contrasts
from roadcast.data.toyroad.traffic import Traffic
from roadcast.data.toyroad.weather import FAR, Weather

_TIERS = (15.0, 30.0, 60.0, 120.0, 1000.0)
_KEPT = 256


def cars_in_view(view: View, traffic: Traffic) -> list[tuple[int, float, float, float, float]]:
    """Model, x, y (m), yaw (rad) and depth (m) of every car that the view may see, shadow and all."""
    (rx, fx), (ry, fy) = view.rotation[:2, ::2].tolist()
    px, py, _ = view.position.tolist()
    slope = 0.5 * view.camera.width / view.camera.focal
    found = []
    for car, (x, y, yaw) in zip(traffic.cars, traffic.places()):
        dx, dy = x - px, y - py
        ahead = fx * dx + fy * dy
        if -4.0 < ahead < FAR and abs(rx * dx + ry * dy) < slope * ahead + 6.0:
            found.append((car.model, x, y, yaw, ahead))
    return found


class CarSketcher:
    """Sketches cars in one weather, for cameras of one focal length (pixels); keeps what does not depend on the place.

    Paint is left out where it would be less than a pixel.
    """

    def __init__(self, weather: Weather, focal: float):
        self._weather = weather
        self._focal = focal
        self._models: dict[tuple, tuple[np.ndarray, ...]] = {}
        self._sun = weather.sun.astype(np.float32)

    def sketch(self, cars: list[tuple[int, float, float, float, float]], origin_2: np.ndarray) -> Sketch:
        """A sketch of the cars that `cars_in_view` gives, about an origin."""
        tiers = [bisect(_TIERS, 0.8 * ahead) for *_, ahead in cars]
        key = tuple((model, tier) for (model, *_), tier in zip(cars, tiers))
        corners_4FK, planes_F4, shade_F3, sun_F3, albedo_F3, owner_F = self._models_of(key)
        x0, y0 = origin_2.tolist()
        pose_O4 = np.array([(math.cos(yaw), math.sin(yaw), x - x0, y - y0) for _, x, y, yaw, _ in cars], np.float32)
        c, s, x, y = pose_O4[owner_F].T
        nx, ny = planes_F4[:, 0], planes_F4[:, 1]
        planes_F4 = planes_F4.copy()
        planes_F4[:, 0] = turned_x = c * nx - s * ny
        planes_F4[:, 1] = turned_y = s * nx + c * ny
        planes_F4[:, 3] -= turned_x * x + turned_y * y
        across_FK, along_FK = corners_4FK[:2]
        corners_4FK = corners_4FK.copy()
        c, s = c[:, None], s[:, None]
        corners_4FK[0] = c * across_FK - s * along_FK + x[:, None]
        corners_4FK[1] = s * across_FK + c * along_FK + y[:, None]
        contrast_F3 = shade_F3 + sun_F3 * np.maximum(planes_F4[:, :3] @ self._sun, 0.0)[:, None]
        things_O4 = np.empty((len(cars), 4), dtype=np.float32)
        things_O4[:, :2] = pose_O4[:, 2:]
        things_O4[:, 2:] = things.CAR_RADIUS, things.CAR_RADIUS**2
        return Sketch(origin_2, corners_4FK, planes_F4, contrast_F3, albedo_F3, owner_F, things_O4)

    def _models_of(self, key: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, ...]:
        if key not in self._models:
            while len(self._models) >= _KEPT:
                del self._models[next(iter(self._models))]
            self._models[key] = self._join(key)
        return self._models[key]

    def _join(self, key: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, ...]:
        """Several cars (model, tier), each in its own frame: corners [4, F, K], planes, contrasts, albedo, owners."""
        groups, keep = [things.model(things.car, "", model) for model, _ in key], []
        for group, (_, tier) in zip(groups, key):
            size_F = np.sort(np.ptp(group.corners_FK3, axis=1), axis=1)[:, 1]
            keep.append(np.flatnonzero(~group.detail_F | (size_F * self._focal > _TIERS[tier])))
        names = ("corners_FK3", "normals_F3", "offsets_F", "albedo_F3", "glow_F")
        values = (np.concatenate([getattr(g, n)[k] for g, k in zip(groups, keep)]).astype(np.float32) for n in names)
        corners_FK3, normals_F3, offsets_F, albedo_F3, glow_F = values
        corners_4FK = np.ones((4, *corners_FK3.shape[:2]), dtype=np.float32)
        corners_4FK[:3] = corners_FK3.transpose(2, 0, 1)
        planes_F4 = np.column_stack((normals_F3, -offsets_F))
        shade_F3, sun_F3 = contrasts(self._weather, normals_F3[:, 2], albedo_F3, glow_F)
        owner_F = np.repeat(np.arange(len(key)), [len(k) for k in keep])
        return corners_4FK, planes_F4, shade_F3, sun_F3, albedo_F3, owner_F
