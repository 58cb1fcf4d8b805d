"""Shadows of cars on the ground: under each, and aside where the sun throws it."""

import math
from functools import lru_cache

import cv2
import numpy as np

from roadcast.data.toyroad import things
from roadcast.data.toyroad.camera import NEAR, View, clip_near
from roadcast.data.toyroad.paint import SHIFT, to_fixed
from roadcast.data.toyroad.weather import Weather

_FAR = 45.0
_TURN = 0.05


@lru_cache(maxsize=64)
def _corners(model: int) -> np.ndarray:
    """Corners [P, 3] of the surfaces of a car, float32 m, in its own frame."""
    car = things.model(things.car, "", model)
    return np.unique(car.corners_FK3[~car.detail_F].reshape(-1, 3), axis=0).astype(np.float32)


@lru_cache(maxsize=1024)
def _outline(model: int, throw: float, turn: int) -> np.ndarray:
    """Ground shadow [M, 2] of a car in its own frame, m; the sun throws it `throw` m a metre towards turn * _TURN."""
    corners_P3 = _corners(model)
    aside_2 = np.float32((throw * math.cos(turn * _TURN), throw * math.sin(turn * _TURN)))
    return cv2.convexHull(corners_P3[:, :2] + corners_P3[:, 2:] * aside_2)[:, 0].astype(np.float64)


def shade_cars(image: np.ndarray, view: View, weather: Weather, cars: list) -> None:
    """Darkens the ground in a picture [H, W, 3] where a near car, of those from `cars_in_view`, keeps light from it."""
    gain = round(255 * (1 - max(weather.shade, 0.3)))
    throw_x, throw_y = weather.throw.tolist()
    throw, towards = math.hypot(throw_x, throw_y), math.atan2(throw_y, throw_x)
    px, py, height = view.position.tolist()
    (rx, fx), (ry, fy) = view.rotation[:2, ::2].tolist()
    for model, x, y, yaw, ahead in cars:
        if ahead > _FAR:
            continue
        c, s, dx, dy = math.cos(yaw), math.sin(yaw), x - px, y - py
        outline_M2 = _outline(model, throw, round((towards - yaw) / _TURN) if throw else 0)
        points_M3 = np.empty((len(outline_M2), 3))
        turn_22 = np.array(((c * rx + s * ry, c * fx + s * fy), (c * ry - s * rx, c * fy - s * fx)))
        points_M3[:, ::2] = outline_M2 @ turn_22 + (rx * dx + ry * dy, fx * dx + fy * dy)
        points_M3[:, 1] = height
        if points_M3[:, 2].min() < NEAR:
            points_M3 = clip_near(points_M3)
        if len(points_M3):
            _darken(image, to_fixed(view.to_pixels(points_M3)), gain)


def _darken(image: np.ndarray, fixed_M2: np.ndarray, gain: int) -> None:
    left, top, width, height = (value >> SHIFT for value in cv2.boundingRect(fixed_M2))
    right, bottom = max(0, left + width + 2), max(0, top + height + 2)
    left, top = max(0, left), max(0, top)
    part = image[top:bottom, left:right]
    if part.size:
        share = np.full(part.shape, 255, dtype=np.uint8)
        shift = np.array((left << SHIFT, top << SHIFT), dtype=np.int32)
        cv2.fillConvexPoly(share, fixed_M2 - shift, (gain, gain, gain), cv2.LINE_AA, SHIFT)
        cv2.multiply(part, share, dst=part, scale=1 / 255)
