"""An autopilot with variety: it keeps its lane, but in a style of its own, with noise, mistakes and changes of mind."""

import math

import numpy as np

from roadcast.data.toyroad.road import LANE
from roadcast.data.toyroad.vehicle import FRONT, REAR, coasting, wheel_limit
from roadcast.data.toyroad.world import ToyWorld

_EVENTS = ("left lane", "verge", "wrong steer", "weave", "stop", "speed")
_SECONDS = {"wrong steer": (0.3, 1.0), "weave": (1.5, 4.0), "stop": (3.0, 5.0), "verge": (4.0, 7.0)}


class Driver:
    """Drives one toy world; seeded, so that a recording can be made again.

    Steering is pure pursuit of a lateral target (Coulter 1992: curvature 2 y / d^2 to a point d ahead, y to the left)
    plus an Ornstein-Uhlenbeck process dn = -n dt / tau + sigma sqrt(2 dt / tau) dW, so the command is never a function
    of the picture alone. Now and then the driver uses the left lane, leaves the road and comes back, steers wrongly,
    weaves, stops, or changes its speed.
    """

    def __init__(self, seed: int):
        self._rng = rng = np.random.default_rng([seed, 11])
        self._preview = rng.uniform(0.55, 1.0)
        self._bias = rng.uniform(-0.4, 0.4)
        self._pace = rng.uniform(7.0, 13.0)
        self._grip = rng.uniform(2.0, 4.0)
        self._sigma = rng.uniform(0.03, 0.16)
        self._tau = rng.uniform(0.2, 1.0)
        self._noise = 0.0
        self._pedal_noise = 0.0
        self._event = ""
        self._until = 0.0
        self._next = rng.uniform(1.0, 4.0)
        self._strength = 0.0
        self._verge = 0.0
        self._time = 0.0
        self._target = -LANE / 2
        self._pedal = 0.3

    def act(self, world: ToyWorld) -> tuple[float, float, float]:
        """The next command (steer, throttle, brake) for the world as it is; call once a step."""
        dt = 1.0 / world.fps
        self._time += dt
        self._choose()
        road, speed = world.road, world.speed
        aim = {"left lane": LANE / 2, "verge": self._verge}.get(self._event, -LANE / 2 + self._bias)
        sidle = (3.0 if self._event == "verge" else 1.6) * dt
        self._target += max(-sidle, min(sidle, aim - self._target))
        steer = self._pursue(world, road, speed)
        kick = math.sqrt(2 * dt / self._tau)
        self._noise += -self._noise * dt / self._tau + self._sigma * kick * self._rng.standard_normal()
        self._pedal_noise += -self._pedal_noise * dt + 0.12 * math.sqrt(2 * dt) * self._rng.standard_normal()
        steer += self._noise
        if self._event == "wrong steer":
            steer += self._strength
        elif self._event == "weave":
            steer += 0.35 * math.sin(2 * math.pi * self._time / (1.4 + abs(self._strength)))
        return (max(-1.0, min(1.0, steer)), *self._pedals(road, speed, dt))

    def _choose(self) -> None:
        rng = self._rng
        if self._event and self._time > self._until:
            self._event, self._next = "", self._time + rng.uniform(1.0, 4.0)
        elif not self._event and self._time > self._next:
            self._event = str(rng.choice(_EVENTS, p=[0.16, 0.22, 0.28, 0.14, 0.08, 0.12]))
            low, high = _SECONDS.get(self._event, (2.5, 6.0))
            self._until = self._time + rng.uniform(low, high)
            self._strength = rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.0)
            self._verge = rng.uniform(5.0, 8.0) * rng.choice((-1.0, 1.0), p=[0.7, 0.3])
            if self._event == "speed":
                self._pace = rng.uniform(4.5, 14.5)

    def _pursue(self, world: ToyWorld, road, speed: float) -> float:
        ahead = 3.0 + self._preview * speed
        x, y, theta = world.course.point(road.s + ahead)
        x, y = x - self._target * math.sin(theta), y + self._target * math.cos(theta)
        dx, dy = x - world.state.x, y - world.state.y
        c, s = math.cos(world.state.yaw), math.sin(world.state.yaw)
        forward, left = c * dx + s * dy, c * dy - s * dx
        curvature = 2 * left / max(forward * forward + left * left, 4.0)
        if forward < 0:
            curvature = math.copysign(0.2, left)
        return math.atan((FRONT + REAR) * curvature) / wheel_limit(speed)

    def _pedals(self, road, speed: float, dt: float) -> tuple[float, float]:
        bend = max(abs(road.curvature), 1e-4)
        wish = min(self._pace, math.sqrt(self._grip / bend))
        if self._event == "stop":
            wish = 0.0
        elif self._event == "verge":
            wish = min(wish, 9.0)
        push = 0.9 * (wish - speed)
        if road.gap < 60.0:
            desired = 4.0 + max(0.0, 1.0 * speed + speed * (speed - road.gap_speed) / 4.5)
            push = min(push, 2.0 * (1 - (desired / max(road.gap, 0.5)) ** 2))
        push = max(-6.0, min(2.8, push)) + coasting(speed) + self._pedal_noise
        self._pedal += max(-12.0 * dt, min(8.0 * dt, push - self._pedal))
        return min(1.0, max(0.0, self._pedal / 3.0)), min(1.0, max(0.0, -self._pedal / 7.0))
