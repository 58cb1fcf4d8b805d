"""Signals as a dashboard shows them: a wheel, bars, and numbers."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from roadcast.data.draw.canvas import BLUE, GREEN, INK, ORANGE, QUIET, RED, RULE, Colour, blank, write

HEIGHT, CELL = 118, 112
LOCK = 120.0
"""Degrees that the wheel turns for a steer of 1."""
COLOURS: dict[str, Colour] = {"throttle": GREEN, "brake": RED, "speed": BLUE}


def draw_gauges(values: dict[str, float], spans: dict[str, tuple[float, float]]) -> np.ndarray:
    """One cell a signal, side by side; `values` by name (NaN: unknown), `spans` what the ends of a bar stand for, low and high."""
    cells = []
    for name, value in values.items():
        cell = blank(HEIGHT, CELL)
        write(cell, name, CELL / 2, 16, QUIET, 0.38, align=0.5)
        draw = _kind_of(name)
        draw(cell, value, *spans[name], COLOURS.get(name, ORANGE))
        write(cell, _told(name, value), CELL / 2, HEIGHT - 8, INK if math.isfinite(value) else RULE, 0.4, align=0.5)
        cells.append(cell)
    return np.concatenate(cells, axis=1) if cells else blank(HEIGHT, 1)


def _kind_of(name: str) -> Callable[[np.ndarray, float, float, float, Colour], None]:
    if name == "steer":
        return _wheel
    return _upright if name in ("throttle", "brake", "speed", "acceleration") else _level


def _told(name: str, value: float) -> str:
    if not math.isfinite(value):
        return "unknown"
    if name == "speed":
        return f"{round(value, 1) + 0.0:.1f} m/s  {round(3.6 * value) + 0:d} km/h"
    digits = 4 if name == "curvature" else 2
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _wheel(cell: np.ndarray, value: float, low: float, high: float, colour: Colour) -> None:
    """A wheel of three spokes, turned against the clock for steer > 0, which is left."""
    centre, radius = (CELL // 2, 58), 32
    shade = INK if math.isfinite(value) else RULE
    cv2.circle(cell, centre, radius, shade, 3, cv2.LINE_AA)
    turn = math.radians(LOCK * value / high) if math.isfinite(value) else 0.0
    for spoke in (0.0, math.pi, 1.5 * math.pi):
        angle = spoke + turn
        end = (round(centre[0] + radius * math.cos(angle)), round(centre[1] - radius * math.sin(angle)))
        cv2.line(cell, centre, end, shade, 2, cv2.LINE_AA)
    top = (round(centre[0] - radius * math.sin(turn)), round(centre[1] - radius * math.cos(turn)))
    cv2.circle(cell, top, 4, colour, -1, cv2.LINE_AA)


def _upright(cell: np.ndarray, value: float, low: float, high: float, colour: Colour) -> None:
    """A bar that grows up from zero, or down."""
    floor, ceiling, left, right = 92, 26, CELL // 2 - 12, CELL // 2 + 12
    cell[ceiling : floor + 1, left:right] = RULE
    zero = round(floor + low / (high - low) * (floor - ceiling))
    if math.isfinite(value):
        tip = round(zero - max(low, min(high, value)) / (high - low) * (floor - ceiling))
        cell[min(tip, zero) : max(tip, zero) + 1, left:right] = colour if value >= 0 else RED
    cell[zero, left - 4 : right + 4] = QUIET


def _level(cell: np.ndarray, value: float, low: float, high: float, colour: Colour) -> None:
    """A bar from the middle to the left for what is positive, as a turn to the left is."""
    top, bottom, middle, reach = 48, 68, CELL // 2, CELL // 2 - 10
    cell[top:bottom, middle - reach : middle + reach] = RULE
    if math.isfinite(value):
        tip = round(middle - max(-1.0, min(1.0, value / high)) * reach)
        cell[top:bottom, min(tip, middle) : max(tip, middle) + 1] = colour
    cell[top - 4 : bottom + 4, middle] = QUIET
