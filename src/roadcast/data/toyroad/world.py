"""The toy world: an ego car on an endless road, stepped by commands, looked at by cameras, LiDAR and radar."""

import copy
import math
from dataclasses import dataclass

import numpy as np

from roadcast.data.toyroad import ranges
from roadcast.data.toyroad.backdrop import Backdrop
from roadcast.data.toyroad.birdseye import BirdsEye
from roadcast.data.toyroad.camera import View, make_camera, place
from roadcast.data.toyroad.depth import depth
from roadcast.data.toyroad.render import Renderer
from roadcast.data.toyroad.road import EDGE, LANE, Course
from roadcast.data.toyroad.scenery import Scenery
from roadcast.data.toyroad.solids import Solids, join
from roadcast.data.toyroad.traffic import LENGTH, Traffic
from roadcast.data.toyroad.vehicle import REAR, VehicleState, drive
from roadcast.data.toyroad.weather import make_weather
from roadcast.errors import UserError


@dataclass(frozen=True)
class RoadState:
    """Where the ego is on the road: arc length s (m), lateral offset (m, positive left of the centre line), heading
    relative to the road's (rad), its curvature there (1/m), free distance and speed of the car ahead (m, m/s)."""

    s: float
    lateral: float
    heading: float
    curvature: float
    gap: float
    gap_speed: float


class ToyWorld:
    """A small deterministic driving world; the same seed and commands give the same bytes.

    state_t = f(state_{t-1}, action_t): call `step(action_t)`, then `render()` for frame t. The ego drives freely, also
    off the road; standing things and cars are not solid to it. A world branches with `copy()`.
    """

    def __init__(
        self,
        seed: int,
        height: int = 128,
        width: int = 256,
        fps: float = 20.0,
        cameras: tuple[str, ...] = ("front",),
        weather: str | None = None,
    ):
        for name, value, least in (("height", height, 16), ("width", width, 16), ("seed", seed, 0)):
            if value != int(value) or value < least:
                raise UserError(f"toyroad {name} = {value}: give a whole number of at least {least}")
        if not 1.0 <= fps <= 200.0:
            raise UserError(f"toyroad fps = {fps}: give frames per second from 1 to 200")
        if not cameras:
            raise UserError("toyroad cameras is empty: give at least one, for example ('front',)")
        self.seed, self.fps = int(seed), float(fps)
        self._cameras = {name: make_camera(name, int(height), int(width)) for name in cameras}
        self.weather = make_weather(weather, self.seed)
        self.course = Course(self.seed)
        self._scenery = Scenery(self.seed, self.course, self.weather.throw)
        birdseye = BirdsEye(self.course, self._scenery, self.weather.shade)
        self._renderer = Renderer(Backdrop(self.seed, self.weather, self._scenery.ground, birdseye))
        self.reset()

    def reset(self) -> None:
        """Back to the start: the ego in its lane at the speed the seed gives."""
        rng = np.random.default_rng([self.seed, 10])
        x, y, theta = self.course.point(0.0)
        lateral = -LANE / 2 + rng.uniform(-0.3, 0.3)
        x, y = x - lateral * math.sin(theta), y + lateral * math.cos(theta)
        self.state = VehicleState(x, y, theta + rng.uniform(-0.03, 0.03), rng.uniform(6.0, 10.0))
        self.frame = 0
        self._s, self._lateral = self.course.locate(x, y, 0.0)
        self._traffic = Traffic(self.seed, self.course)

    def step(self, steer: float, throttle: float, brake: float = 0.0) -> None:
        """One step of 1 / fps seconds under steer in [-1, 1] (positive left), throttle and brake in [0, 1].

        Values outside their range count as the nearest end of it; `UserError` for what is not a finite number.
        """
        limits = {"steer": (steer, -1.0), "throttle": (throttle, 0.0), "brake": (brake, 0.0)}
        for name, (value, _) in limits.items():
            if not math.isfinite(value):
                raise UserError(f"toyroad {name} = {value}: give a finite number")
        steer, throttle, brake = (min(1.0, max(low, float(value))) for value, low in limits.values())
        dt = 1.0 / self.fps
        along = self.state.speed * math.cos(self.state.yaw - self.course.heading(self._s))
        self._traffic.step(self._s, self._lateral, along, dt)
        self.state = drive(self.state, steer, throttle, brake, dt, self.off_road)
        self._s, self._lateral = self.course.locate(self.state.x, self.state.y, self._s)
        self.frame += 1

    def copy(self) -> "ToyWorld":
        """A branch of the world: both go on by themselves, and alike under like commands."""
        other = copy.copy(self)
        other._traffic = self._traffic.copy()
        return other

    def render(self, camera: str = "front") -> np.ndarray:
        """The camera's picture [H, W, 3], RGB uint8."""
        view = self.view(camera)
        return self._renderer.picture(view, self._s, self._scenery.around(self._s), self._traffic, self.frame)

    def depth(self, camera: str = "front") -> np.ndarray:
        """True depth [H, W] along the camera's optical axis, float32 m; inf where there is sky or a far hill."""
        return depth(self.view(camera), self.solids())

    def lidar(self) -> np.ndarray:
        """LiDAR-like points [P, 3] in the ego frame, float32 m, of a turning scanner on the roof."""
        return ranges.lidar(join(self.solids()), self._pose2())

    def radar(self) -> np.ndarray:
        """Radar-like returns [R, 3], float32: range (m), azimuth (rad, left > 0), radial speed (m/s, closing < 0)."""
        groups = self.solids()
        standing = np.zeros((len(groups[0].radius_O), 2))
        velocity_O2 = np.concatenate((standing, self._traffic.velocities()))
        s = self.state
        slip = math.asin(s.curvature * REAR)
        own = (s.speed * math.cos(slip), s.speed * math.sin(slip), s.yaw_rate)
        return ranges.radar(join(groups), velocity_O2, self._pose2(), own)

    @property
    def pose(self) -> np.ndarray:
        """The ego frame in the world [7], float64: x, y, z (m), quaternion w, x, y, z."""
        half = 0.5 * self.state.yaw
        return np.array([self.state.x, self.state.y, 0.0, math.cos(half), 0.0, 0.0, math.sin(half)])

    @property
    def speed(self) -> float:
        """The ego's speed in m/s."""
        return self.state.speed

    @property
    def yaw_rate(self) -> float:
        """The ego's yaw rate in rad/s, positive left."""
        return self.state.yaw_rate

    @property
    def off_road(self) -> bool:
        """Whether the ego's centre is off the asphalt."""
        return abs(self._lateral) > EDGE

    @property
    def road(self) -> RoadState:
        """Where the ego is on the road, and what is ahead of it in its lane."""
        s, lateral = self._s, self._lateral
        heading = math.remainder(self.state.yaw - self.course.heading(s), 2 * math.pi)
        gap, gap_speed = math.inf, 0.0
        for car in self._traffic.cars:
            if 0.0 < car.s - s < gap + LENGTH and abs(lateral + car.direction * LANE / 2) < 1.9:
                gap, gap_speed = car.s - s - LENGTH, car.direction * car.speed
        return RoadState(s, lateral, heading, self.course.curvature(s), gap, gap_speed)

    @property
    def calibration(self) -> dict:
        """By camera: intrinsics (3 x 3 rows, pixels), to_ego (4 x 4 rows, m; y down, z forward), size."""
        return {
            name: {
                "intrinsics": camera.K.tolist(),
                "to_ego": camera.camera_to_ego.tolist(),
                "height": camera.height,
                "width": camera.width,
            }
            for name, camera in self._cameras.items()
        }

    def solids(self) -> list[Solids]:
        """What stands near the ego, and the cars, in world coordinates: what all sensors look at."""
        return [self._scenery.around(self._s), self._traffic.solids()]

    def cars(self) -> np.ndarray:
        """Where the other cars are [N, 3]: x, y (m) and yaw (rad)."""
        return np.array(self._traffic.places())

    def view(self, name: str) -> View:
        """Where the camera `name` is in the world."""
        if name not in self._cameras:
            raise UserError(f"this toy world has no camera {name!r}: it has {', '.join(self._cameras)}")
        return place(self._cameras[name], *self._pose2())

    def _pose2(self) -> tuple[float, float, float]:
        return self.state.x, self.state.y, self.state.yaw
