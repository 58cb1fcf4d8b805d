"""The ground from above: what sensors see around the ego, and the way it drives."""

import cv2
import numpy as np

from roadcast.data.draw.boxes import Boxes
from roadcast.data.draw.canvas import GREEN, INK, PANEL, QUIET, RED, RULE, blank, write
from roadcast.data.draw.in_picture import colour_scale

AHEAD = 0.68
"""The share of the panel that lies in front of the ego."""
LOW, HIGH = -0.5, 3.0
"""Heights above ground in m between which colours of points run."""
CAR = np.array([(3.8, 0.0), (3.0, 0.9), (-1.0, 0.9), (-1.0, -0.9), (3.0, -0.9)])
RINGS = (1, 2, 5, 10, 20, 50, 100, 200)


class BirdsEye:
    """A square panel of `side` pixels that shows `reach` metres to the front, the ego looking up; x forward, y left."""

    def __init__(self, side: int, reach: float):
        self.image = blank(side, side)
        self._metre = AHEAD * side / reach
        self._origin = np.array([side / 2, AHEAD * side])
        step = next((ring for ring in RINGS if ring * 4.5 >= reach), RINGS[-1])
        for n in range(1, 8):
            centre, radius = self._origin.round().astype(int).tolist(), round(n * step * self._metre)
            cv2.circle(self.image, centre, radius, RULE, 1, cv2.LINE_AA)
            write(self.image, f"{n * step} m", self._origin[0] + 3, self._origin[1] - radius - 3, QUIET, 0.34)

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """Points [..., 2 or 3] of the ego's frame as whole pixels int64 [..., 2]."""
        offset = np.stack([-xy[..., 1], -xy[..., 0]], -1) * self._metre
        return np.clip(np.rint(self._origin + offset), -30_000, 30_000).astype(np.int64)

    def points(self, points: np.ndarray, radius: int = 0) -> None:
        """Points [N, 3], coloured by height, the highest on top."""
        order = np.argsort(points[:, 2])
        colours = colour_scale(np.clip((points[order, 2] - LOW) / (HIGH - LOW), 0, 1))
        uv = self.pixels(points[order])
        inside = ((uv >= radius) & (uv < self.image.shape[0] - radius)).all(1)
        reach = range(-radius, radius + 1)
        for dv, du in [(dv, du) for dv in reach for du in reach]:
            self.image[uv[inside, 1] + dv, uv[inside, 0] + du] = colours[inside]

    def moving(self, points: np.ndarray, velocities: np.ndarray | None) -> None:
        """Radar's points [N, 3], each with the way it goes in half a second if velocities [N, 2] in m/s are known."""
        for at, to in zip(self.pixels(points), self.pixels(points[:, :2] + 0.5 * _or_rest(velocities, points))):
            cv2.line(self.image, at.tolist(), to.tolist(), RED, 1, cv2.LINE_AA)
            cv2.circle(self.image, at.tolist(), 2, RED, -1, cv2.LINE_AA)

    def boxes(self, boxes: Boxes) -> None:
        """The floors of boxes, and which way they look."""
        for floor, colour in zip(self.pixels(boxes.corners[:, :4]), boxes.colours, strict=True):
            cv2.polylines(self.image, [floor.astype(np.int32)], True, colour, 1, cv2.LINE_AA)
            middle, front = floor.mean(0), floor[:2].mean(0)
            cv2.line(self.image, middle.astype(int).tolist(), front.astype(int).tolist(), colour, 1, cv2.LINE_AA)

    def path(self, past: np.ndarray, coming: np.ndarray) -> None:
        """The way driven, points [P, 3] and [Q, 3]: what is past is quiet, what is to come green."""
        for points, colour in ((past, QUIET), (coming, GREEN)):
            cv2.polylines(self.image, [self.pixels(points).astype(np.int32)], False, colour, 2, cv2.LINE_AA)

    def ego(self) -> None:
        """The car itself, a pointed shape of a car's size."""
        shape = self.pixels(CAR).astype(np.int32)
        cv2.fillPoly(self.image, [shape], PANEL)
        cv2.polylines(self.image, [shape], True, INK, 1, cv2.LINE_AA)


def _or_rest(velocities: np.ndarray | None, points: np.ndarray) -> np.ndarray:
    return np.zeros((len(points), 2)) if velocities is None else velocities
