"""What stands beside the course: a pure function of seed and place, so that every visit finds the same world."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from roadcast.data.toyroad import things
from roadcast.data.toyroad.road import Course
from roadcast.data.toyroad.solids import Solids, join

CHUNK = 30.0
"""Metres of course that are furnished at a time."""
REACH = 6
"""How many chunks before and behind the ego exist around it; REACH * CHUNK exceeds the far limit."""
_ALIGNED = (things.house, things.block, things.sign, things.post, things.lamp)
_STYLES = {
    # style: what stands in the rows behind the verge, how many tries a chunk and side, and the chance of lamps
    "village": ((things.house, things.house, things.tree, things.bush), 6, 0.7),
    "town": ((things.block, things.block, things.house, things.tree), 6, 1.0),
    "forest": ((things.tree, things.pine, things.pine, things.bush), 8, 0.0),
    "farmland": ((things.tree, things.bush, things.bush, things.house), 4, 0.0),
}
_GROUND = {"green": (96, 138, 62), "dry": (178, 158, 104), "autumn": (136, 130, 66), "snow": (216, 222, 228)}


@dataclass(frozen=True)
class Standing:
    """Standing things in world coordinates, and the outlines [M, 2] (m) of the shadows the sun makes them throw."""

    solids: Solids
    shadows: list[np.ndarray]


class Scenery:
    """The standing things of one world, furnished chunk by chunk when first seen.

    Every thing keeps its bounding circle inside its own chunk, off the road and off the other circles. Circles that do
    not meet can be sorted for painting without error (see `paint.visible_faces`).
    """

    def __init__(self, seed: int, course: Course, throw_2: np.ndarray):
        rng = np.random.default_rng([seed, 3])
        self.style = str(rng.choice(list(_STYLES)))
        self.theme = str(rng.choice(list(_GROUND), p=[0.55, 0.15, 0.18, 0.12]))
        self.ground = np.array(_GROUND[self.theme], dtype=np.float64) + rng.uniform(-10, 10, 3)
        self._seed = seed
        self._course = course
        self._throw_2 = throw_2
        self._chunks: dict[int, Standing] = {}
        self._around: tuple[int, Solids] | None = None

    @property
    def throws_shadows(self) -> bool:
        """Whether the light throws shadows on the ground."""
        return bool(self._throw_2.any())

    def around(self, s: float) -> Solids:
        """Everything that stands within REACH chunks of arc length `s` (m), in world coordinates."""
        here = math.floor(s / CHUNK)
        if self._around is None or self._around[0] != here:
            for k in [k for k in self._chunks if abs(k - here) > 2 * REACH]:
                del self._chunks[k]
            near = range(here - REACH, here + REACH + 1)
            self._around = (here, join([self._chunk(k).solids for k in near]))
        return self._around[1]

    def shadows(self, s: float, reach: float) -> list[np.ndarray]:
        """Outlines [M, 2] (m) of the shadows of what stands within `reach` m of arc length `s` (m)."""
        chunks = range(math.floor((s - reach) / CHUNK), math.floor((s + reach) / CHUNK) + 1)
        return [hull for k in chunks for hull in self._chunk(k).shadows]

    def _chunk(self, k: int) -> Standing:
        if k not in self._chunks:
            self._chunks[k] = self._furnish(k)
        return self._chunks[k]

    def _furnish(self, k: int) -> Standing:
        rng = np.random.default_rng([self._seed, 4, k + 2**20])
        kinds, tries, lamps = _STYLES[self.style]
        s0 = k * CHUNK
        wanted = [(things.post, 0.25 * CHUNK, side * 4.7) for side in (1, -1)]
        if k % 2 == 0 and rng.random() < lamps:
            wanted.append((things.lamp, 0.5 * CHUNK, 6.4 * (1 if k % 4 == 0 else -1)))
        if rng.random() < 0.25:
            wanted.append((things.sign, 0.5 * CHUNK + 5.5, -5.9))
        for side in (1, -1):
            for _ in range(tries):
                kind = kinds[rng.integers(len(kinds))]
                low, high = (13.5, 26.0) if kind in (things.house, things.block) else (7.0, 32.0)
                wanted.append((kind, rng.uniform(0, CHUNK), side * rng.uniform(low, high)))
        first, last = self._course.point(s0), self._course.point(s0 + CHUNK)
        near = np.arange(round((s0 - 60) / 3.0), round((s0 + CHUNK + 60) / 3.0)) * 2
        road_N2, _ = self._course.samples(near)
        models: list[Solids] = []
        poses: list[tuple[float, float, float]] = []
        circles: list[tuple[float, float, float]] = []
        for kind, along, lateral in wanted:
            x, y, theta = self._course.point(s0 + along)
            x, y = x - lateral * math.sin(theta), y + lateral * math.cos(theta)
            model = things.model(kind, self.theme, int(rng.integers(things.VARIANTS)))
            turn = rng.uniform(0, 2 * math.pi)
            r = float(model.radius_O[0])
            fits = _along(first, x, y) >= r and -_along(last, x, y) >= r
            if not fits or any(math.hypot(a - x, b - y) < r + c + 0.1 for a, b, c in circles):
                continue
            if np.square(road_N2 - (x, y)).sum(axis=1).min() < (r + 4.4) ** 2:
                continue
            if kind in _ALIGNED:
                turn = math.pi if kind is things.lamp and lateral > 0 else 0.0
            models.append(model)
            poses.append((x, y, theta + turn))
            circles.append((x, y, r))
        solids = join(models).moved(np.array(poses)).tinted(1 + rng.uniform(-0.09, 0.09, (len(models), 3)))
        shadows = []
        if self.throws_shadows:
            cuts = np.cumsum(solids.faces_O)[:-1]
            shadows = [shadow(corners, self._throw_2) for corners in np.split(solids.corners_FK3, cuts)]
        return Standing(solids, shadows)


def shadow(corners_FK3: np.ndarray, throw_2: np.ndarray) -> np.ndarray:
    """Convex outline [M, 2] of a thing's ground shadow; the sun shifts a point at height z by z * `throw_2` (m)."""
    flat = corners_FK3[..., :2] + throw_2 * corners_FK3[..., 2:]
    return cv2.convexHull(flat.reshape(-1, 2).astype(np.float32))[:, 0]


def _along(origin: tuple[float, float, float], x: float, y: float) -> float:
    return (x - origin[0]) * math.cos(origin[2]) + (y - origin[1]) * math.sin(origin[2])
