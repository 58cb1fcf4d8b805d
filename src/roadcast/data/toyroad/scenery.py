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
_HULL = 24
_STYLES = {
    # style: what stands in the rows behind the verge, how many tries a chunk and side, and the chance of lamps
    "village": ((things.house, things.house, things.tree, things.bush), 6, 0.7),
    "town": ((things.block, things.block, things.house, things.tree), 6, 1.0),
    "forest": ((things.tree, things.pine, things.pine, things.bush), 9, 0.0),
    "farmland": ((things.tree, things.bush, things.bush, things.house), 4, 0.0),
}
_GROUND = {"green": (96, 138, 62), "dry": (178, 158, 104), "autumn": (136, 130, 66), "snow": (216, 222, 228)}


@dataclass(frozen=True)
class Standing:
    """Standing things in world coordinates, and the shadows the sun makes them throw on the ground.

    shadows_OK2, shadow_counts_O    convex polygons, m, the last corner repeated
    """

    solids: Solids
    shadows_OK2: np.ndarray
    shadow_counts_O: np.ndarray


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
        self._around: tuple[int, Standing] | None = None

    def around(self, s: float) -> Standing:
        """Everything that stands within REACH chunks of arc length `s` (m), in world coordinates."""
        here = math.floor(s / CHUNK)
        if self._around is None or self._around[0] != here:
            for k in [k for k in self._chunks if abs(k - here) > 2 * REACH]:
                del self._chunks[k]
            near = range(here - REACH, here + REACH + 1)
            for k in near:
                if k not in self._chunks:
                    self._chunks[k] = self._furnish(k)
            chunks = [self._chunks[k] for k in near]
            self._around = (
                here,
                Standing(
                    join([chunk.solids for chunk in chunks]),
                    np.concatenate([chunk.shadows_OK2 for chunk in chunks]),
                    np.concatenate([chunk.shadow_counts_O for chunk in chunks]),
                ),
            )
        return self._around[1]

    def _furnish(self, k: int) -> Standing:
        rng = np.random.default_rng([self._seed, 4, k + 2**20])
        kinds, tries, lamps = _STYLES[self.style]
        s0 = k * CHUNK
        wanted = [(things.post, f * CHUNK, side * 4.7) for f in (0.25, 0.75) for side in (1, -1)]
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
        placed: list[Solids] = []
        for kind, along, lateral in wanted:
            x, y, theta = self._course.point(s0 + along)
            x, y = x - lateral * math.sin(theta), y + lateral * math.cos(theta)
            thing = kind(rng, self.theme)
            r = float(thing.radius_O[0])
            fits = _along(first, x, y) >= r and -_along(last, x, y) >= r
            if not fits or (np.hypot(road_N2[:, 0] - x, road_N2[:, 1] - y) - r).min() < 4.4:
                continue
            if any(math.hypot(t.centre_O2[0, 0] - x, t.centre_O2[0, 1] - y) < r + t.radius_O[0] + 0.1 for t in placed):
                continue
            aligned = kind in (things.house, things.block, things.sign, things.post)
            turn = 0.0 if aligned else rng.uniform(0, 2 * math.pi)
            if kind is things.lamp:
                turn = 0.0 if lateral < 0 else math.pi
            placed.append(thing.moved(np.array([[x, y, theta + turn]])))
        hulls = [shadow(thing.corners_FK3, self._throw_2) for thing in placed]
        width = np.arange(_HULL)
        shadows_OK2 = np.stack([hull[np.minimum(width, len(hull) - 1)] for hull in hulls])
        return Standing(join(placed), shadows_OK2, np.array([len(hull) for hull in hulls]))


def shadow(corners_FK3: np.ndarray, throw_2: np.ndarray) -> np.ndarray:
    """Convex outline [M, 2] of a thing's ground shadow; the sun shifts a point at height z by z * `throw_2` (m)."""
    flat = corners_FK3[..., :2] + throw_2 * corners_FK3[..., 2:]
    return cv2.convexHull(flat.reshape(-1, 2).astype(np.float32))[:_HULL, 0]


def _along(origin: tuple[float, float, float], x: float, y: float) -> float:
    return (x - origin[0]) * math.cos(origin[2]) + (y - origin[1]) * math.sin(origin[2])
