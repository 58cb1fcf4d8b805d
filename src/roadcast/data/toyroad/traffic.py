"""The other cars: they keep their lane and their distance, also from the ego, and never end."""

import math

import numpy as np

from roadcast.data.toyroad import things
from roadcast.data.toyroad.road import LANE, Course
from roadcast.data.toyroad.solids import Solids, join

BEHIND, AHEAD = 100.0, 180.0
"""Cars live between this far behind the ego and this far ahead of it; whoever leaves comes back at the other end."""
_LENGTH = 4.6
_CALM = 2.5


class Traffic:
    """Some cars in both lanes; direction +1 drives along the course in its right lane, -1 against it in the other.

    Intelligent driver model (Treiber, Hennecke, Helbing, Phys. Rev. E 62, 2000, eq. 3 and 4), with v0 lowered in bends
    to a lateral acceleration of 2.5 m/s2:
        a = A (1 - (v / v0)^4 - (s* / gap)^2),  s* = 2 + 1.2 v + v dv / (2 sqrt(A B)),  A = 1.8, B = 2.5 m/s2
    """

    def __init__(self, seed: int, course: Course):
        rng = np.random.default_rng([seed, 5])
        own, oncoming = rng.integers(1, 4), rng.integers(2, 5)
        self._seed = seed
        self._course = course
        self.direction_N = np.array([1] * own + [-1] * oncoming)
        spread = (BEHIND + AHEAD) / np.repeat([own, oncoming], [own, oncoming])
        place = np.concatenate((np.arange(own), np.arange(oncoming)))
        self.s_N = 25.0 + (place + rng.uniform(0.0, 0.4, own + oncoming)) * spread
        self.s_N -= (BEHIND + AHEAD) * (self.s_N > AHEAD)
        self._spawned = 0
        self._models: list[Solids] = []
        self._cruise_N = np.zeros(own + oncoming)
        for i in range(own + oncoming):
            self._models.append(self._new(i))
        self._joined = join(self._models)
        self.speed_N = self._cruise_N * 0.9

    def copy(self) -> "Traffic":
        """The same cars, from here on independent."""
        other = object.__new__(Traffic)
        other.__dict__.update(self.__dict__)
        other.s_N, other.speed_N = self.s_N.copy(), self.speed_N.copy()
        other._models, other._cruise_N = list(self._models), self._cruise_N.copy()
        return other

    def step(self, ego_s: float, ego_lateral: float, ego_along: float, dt: float) -> None:
        """One step of `dt` seconds; `ego_along` is the ego's speed along the course (m/s)."""
        s, v, direction = self.s_N, self.speed_N, self.direction_N
        bend = np.abs(self._course.curvature(s))
        wish = np.minimum(self._cruise_N, np.sqrt(_CALM / np.maximum(bend, 1e-4)))
        in_lane = (np.abs(ego_lateral + direction * LANE / 2) < 1.9)[:, None]
        ring = BEHIND + AHEAD
        gap_NM = np.mod((s[None] - s[:, None]) * direction[:, None], ring)
        gap_NM[direction[:, None] != direction[None]] = 1e6
        np.fill_diagonal(gap_NM, 1e6)
        to_ego = (ego_s - s) * direction
        to_ego = np.where(in_lane[:, 0] & (to_ego > 0), to_ego, 1e6)
        leader = gap_NM.argmin(axis=1)
        near = np.take_along_axis(gap_NM, leader[:, None], axis=1)[:, 0]
        lead_v = np.where(to_ego < near, ego_along * direction, v[leader])
        gap = np.maximum(np.minimum(near, to_ego) - _LENGTH, 0.5)
        desired = 2.0 + np.maximum(0.0, 1.2 * v + v * (v - lead_v) / (2 * math.sqrt(1.8 * 2.5)))
        push = 1.8 * (1 - (v / wish) ** 4 - (desired / gap) ** 2)
        self.speed_N = np.maximum(0.0, v + np.clip(push, -8.0, 1.8) * dt)
        self.s_N = s + direction * 0.5 * (v + self.speed_N) * dt
        relative = self.s_N - ego_s
        for i in np.flatnonzero((relative < -BEHIND) | (relative > AHEAD)):
            self.s_N[i] += ring if relative[i] < 0 else -ring
            self._models[i] = self._new(i)
            self._joined = join(self._models)

    def poses(self) -> np.ndarray:
        """Where every car is [N, 3]: x, y (m) and yaw (rad)."""
        result = []
        for s, direction in zip(self.s_N.tolist(), self.direction_N.tolist()):
            x, y, theta = self._course.point(s)
            lateral = -direction * LANE / 2
            x, y = x - lateral * math.sin(theta), y + lateral * math.cos(theta)
            result.append((x, y, theta if direction > 0 else theta + math.pi))
        return np.array(result)

    def velocities(self) -> np.ndarray:
        """Velocity of every car in world coordinates [N, 2], m/s."""
        yaw_N = self.poses()[:, 2]
        return self.speed_N[:, None] * np.stack((np.cos(yaw_N), np.sin(yaw_N)), axis=1)

    def solids(self) -> Solids:
        """Every car, in world coordinates."""
        return self._joined.moved(self.poses())

    def _new(self, i: int) -> Solids:
        rng = np.random.default_rng([self._seed, 6, self._spawned])
        self._spawned += 1
        self._cruise_N[i] = rng.uniform(5.5, 12.5)
        return things.car(rng)
