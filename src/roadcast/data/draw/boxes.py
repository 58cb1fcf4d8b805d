"""3D boxes as lines: their corners, edges and colours."""

from dataclasses import dataclass

import numpy as np

from roadcast.data.draw.canvas import BLUE, GREEN, ORANGE, RED, YELLOW, Colour
from roadcast.data.geometry import moved
from roadcast.data.reel.readings import Readings

CLASS_COLOURS: tuple[Colour, ...] = (ORANGE, GREEN, BLUE, YELLOW, RED, (196, 130, 240), (90, 210, 210), (240, 150, 190))
EDGES = np.array(
    [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7), (0, 5), (1, 4)]
)
"""Pairs of corners: below, above, uprights, and a cross on the front."""
SAMPLES = 9


@dataclass(frozen=True)
class Boxes:
    """corners float64 [N, 8, 3], those of the floor first, from the front left on: front left, front right, rear right, rear left."""

    corners: np.ndarray
    colours: list[Colour]
    names: list[str]

    def moved(self, matrix: np.ndarray) -> "Boxes":
        """The boxes taken by a rigid 4x4 matrix."""
        return Boxes(moved(self.corners, matrix), self.colours, self.names)

    def edges(self) -> np.ndarray:
        """Points along every edge, float64 [N, 14, SAMPLES, 3]: lines may be cut where a camera cannot see."""
        start, end = self.corners[:, EDGES[:, 0], None], self.corners[:, EDGES[:, 1], None]
        return start + np.linspace(0, 1, SAMPLES)[:, None] * (end - start)


def boxes_of(sensor: Readings, table: np.ndarray) -> Boxes:
    """The boxes of one reading: columns x y z (centre) length width height yaw class track, as the sensor's fields say."""
    column = {name: table[:, n].astype(np.float64) for n, name in enumerate(sensor.fields)}
    numbers = column.get("class", np.zeros(len(table))).astype(int)
    ahead = np.array([1, 1, -1, -1] * 2) * column["length"][:, None] / 2
    left = np.array([1, -1, -1, 1] * 2) * column["width"][:, None] / 2
    up = np.array([-1] * 4 + [1] * 4) * column["height"][:, None] / 2
    cos, sin = np.cos(column["yaw"])[:, None], np.sin(column["yaw"])[:, None]
    turned = np.stack([cos * ahead - sin * left, sin * ahead + cos * left, up], -1)
    corners = turned + np.stack([column["x"], column["y"], column["z"]], -1)[:, None]
    names = [sensor.classes[n] if 0 <= n < len(sensor.classes) else "" for n in numbers]
    return Boxes(corners, [CLASS_COLOURS[n % len(CLASS_COLOURS)] for n in numbers], names)
