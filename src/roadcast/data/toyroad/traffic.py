"""The other cars: they keep their lane and their distance, also from the ego, and never end."""

import copy
import math
from dataclasses import dataclass, replace

import numpy as np

from roadcast.data.toyroad import things
from roadcast.data.toyroad.road import LANE, Course
from roadcast.data.toyroad.solids import Solids, join

BEHIND, AHEAD = 100.0, 180.0
"""Cars live between this far behind the ego and this far ahead of it; whoever leaves comes back at the other end."""
LENGTH = 4.6
"""Metres between the middles of two cars that touch."""
_RING = BEHIND + AHEAD
_CALM = 2.5


@dataclass(frozen=True, slots=True)
class Car:
    """A car at arc length s (m) with its speed (m/s), the speed it likes (m/s) and the number of its model."""

    s: float
    speed: float
    direction: int
    cruise: float
    model: int


class Traffic:
    """Some cars in both lanes; direction +1 drives along the course in its right lane, -1 against it in the other.

    Intelligent driver model (Treiber, Hennecke, Helbing, Phys. Rev. E 62, 2000, eq. 3 and 4), with v0 lowered in bends
    to a lateral acceleration of 2.5 m/s2:
        a = A (1 - (v / v0)^4 - (s* / gap)^2),  s* = 2 + 1.2 v + v dv / (2 sqrt(A B)),  A = 1.8, B = 2.5 m/s2
    """

    def __init__(self, seed: int, course: Course):
        rng = np.random.default_rng([seed, 5])
        own, oncoming = int(rng.integers(1, 4)), int(rng.integers(2, 5))
        self._seed = seed
        self._course = course
        self._spawned = 0
        self._cars = []
        for count, direction in ((own, 1), (oncoming, -1)):
            for place in range(count):
                s = 25.0 + (place + rng.uniform(0.0, 0.4)) * _RING / count
                self._cars.append(self._new(s - _RING if s > AHEAD else s, direction))
        self._joined: Solids | None = None

    @property
    def cars(self) -> tuple[Car, ...]:
        """Every car as it is now."""
        return tuple(self._cars)

    def copy(self) -> "Traffic":
        """The same cars, from here on independent."""
        other = copy.copy(self)
        other._cars = list(self._cars)
        return other

    def step(self, ego_s: float, ego_lateral: float, ego_along: float, dt: float) -> None:
        """One step of `dt` seconds; `ego_along` is the ego's speed along the course (m/s)."""
        before = self._cars
        self._cars = after = []
        for car in before:
            gap, lead = self._leader(car, before)
            to_ego = (ego_s - car.s) * car.direction
            if 0 < to_ego < gap and abs(ego_lateral + car.direction * LANE / 2) < 1.9:
                gap, lead = to_ego, ego_along * car.direction
            speed = max(0.0, car.speed + self._push(car, max(gap - LENGTH, 0.5), lead) * dt)
            s = car.s + car.direction * 0.5 * (car.speed + speed) * dt
            if -BEHIND <= s - ego_s <= AHEAD:
                after.append(Car(s, speed, car.direction, car.cruise, car.model))
            else:
                after.append(replace(self._new(s + (_RING if s < ego_s else -_RING), car.direction), speed=speed))
                self._joined = None

    @staticmethod
    def _leader(car: Car, cars: list[Car]) -> tuple[float, float]:
        """Distance along the ring and speed of the next car in the lane."""
        gap, speed = 1e6, 0.0
        for other in cars:
            if other is not car and other.direction == car.direction:
                distance = (other.s - car.s) * car.direction % _RING
                if distance < gap:
                    gap, speed = distance, other.speed
        return gap, speed

    def _push(self, car: Car, gap: float, lead: float) -> float:
        v = car.speed
        wish = min(car.cruise, math.sqrt(_CALM / max(abs(self._course.curvature(car.s)), 1e-4)))
        desired = 2.0 + max(0.0, 1.2 * v + v * (v - lead) / (2 * math.sqrt(1.8 * 2.5)))
        return max(-8.0, min(1.8, 1.8 * (1 - (v / wish) ** 4 - (desired / gap) ** 2)))

    def places(self) -> list[tuple[float, float, float]]:
        """Where every car is: x, y (m) and yaw (rad)."""
        result = []
        for car in self._cars:
            x, y, theta = self._course.point(car.s)
            lateral = -car.direction * LANE / 2
            x, y = x - lateral * math.sin(theta), y + lateral * math.cos(theta)
            result.append((x, y, theta if car.direction > 0 else theta + math.pi))
        return result

    def velocities(self) -> np.ndarray:
        """Velocity of every car in world coordinates [N, 2], m/s."""
        yaw_N = np.array(self.places())[:, 2]
        speed_N = np.array([car.speed for car in self._cars])
        return speed_N[:, None] * np.stack((np.cos(yaw_N), np.sin(yaw_N)), axis=1)

    def solids(self) -> Solids:
        """Every car, in world coordinates."""
        if self._joined is None:
            self._joined = join([things.model(things.car, "", car.model) for car in self._cars])
        return self._joined.moved(np.array(self.places()))

    def _new(self, s: float, direction: int) -> Car:
        rng = np.random.default_rng([self._seed, 6, self._spawned])
        self._spawned += 1
        cruise = rng.uniform(5.5, 12.5)
        return Car(s, 0.9 * cruise, direction, cruise, int(rng.integers(2 * things.VARIANTS)))
