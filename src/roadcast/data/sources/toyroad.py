"""Recordings driven in the toy world: data for tests, the demo, and whoever has none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from roadcast.data.sources.base import Recording, Sensor, Signal
from roadcast.data.sources.forward import Forward
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.ranges import LIDAR, RADAR
from roadcast.errors import UserError

NEAREST = 2.0
"""The depth in m that a picture of depth shows as 255."""


@dataclass(frozen=True)
class Reading:
    """How a sensor of the toy world is read: kind and columns, on every how many frames, where it sits (m), and by what."""

    kind: str
    fields: tuple[str, ...]
    every: int
    mount: tuple[float, float, float]
    read: Callable[[ToyWorld, str], np.ndarray]


def _lidar(world: ToyWorld, camera: str) -> np.ndarray:
    return world.lidar() - np.array(LIDAR, np.float32)


def _radar(world: ToyWorld, camera: str) -> np.ndarray:
    """Returns at the radar's height; vx vy is the part of the relative velocity that a radar sees: along the ray."""
    distance, azimuth, radial = world.radar().T
    c, s = np.cos(azimuth), np.sin(azimuth)
    return np.stack([distance * c, distance * s, np.zeros_like(distance), radial * c, radial * s], 1).astype(np.float32)


def _depth(world: ToyWorld, camera: str) -> np.ndarray:
    """255 NEAREST / depth, so that depth in m is 255 NEAREST / value; 0 for the sky."""
    return np.rint(255 * NEAREST / np.maximum(world.depth(camera), NEAREST)).astype(np.uint8)


READINGS = {
    "lidar": Reading("lidar", ("x", "y", "z"), 2, LIDAR, _lidar),
    "radar": Reading("radar", ("x", "y", "z", "vx", "vy"), 1, RADAR, _radar),
    "depth": Reading("image", (), 1, (0.0, 0.0, 0.0), _depth),
}


class ToyroadSource:
    """`recordings` drives of `frames` frames each, every one in a world of its own; fixed by `seed` and its number.

    cameras   names of `roadcast.data.toyroad.camera.MOUNTS`, or one string joined by "+": "front+left"
    weather   one of `roadcast.data.toyroad.weather.WEATHERS`, or None for one by the seed
    sensors   names of READINGS, likewise: "lidar+radar+depth"; depth is the first camera's
    """

    def __init__(
        self,
        recordings: int = 40,
        frames: int = 200,
        seed: int = 0,
        height: int = 128,
        width: int = 256,
        fps: float = 20.0,
        cameras: tuple[str, ...] | str = ("front",),
        weather: str | None = None,
        sensors: tuple[str, ...] | str = (),
    ):
        for name, value, least in (("recordings", recordings, 1), ("frames", frames, 1), ("seed", seed, 0)):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise UserError(f"toyroad {name} = {value}: give a whole number of at least {least}")
        self.cameras, self._sensors = _names(cameras), _names(sensors)
        for name in self._sensors:
            if name not in READINGS:
                raise UserError(f"toyroad has no sensor {name!r}: use {', '.join(READINGS)}")
        self._recordings, self._frames, self._seed = int(recordings), int(frames), int(seed)
        self._options = {"height": height, "width": width, "fps": fps, "cameras": self.cameras, "weather": weather}
        ToyWorld(0, **self._options)

    def recordings(self) -> Iterator[Recording]:
        """The drives, simulated one by one as they are asked for; their pictures are drawn only by `frames()`."""
        for index in range(self._recordings):
            yield self._drive(index)

    def _drive(self, index: int) -> Recording:
        seed = int(np.random.SeedSequence([self._seed, index]).generate_state(1)[0])
        world = ToyWorld(seed, **self._options)
        t_ns = np.rint(np.arange(self._frames) * (1e9 / world.fps)).astype(np.int64)
        driver = Driver(seed)
        rows: dict[str, list] = {}
        commands = []
        for _ in range(self._frames):
            steer, throttle, brake = driver.act(world)
            world.step(steer, throttle, brake)
            commands.append((steer, throttle, brake))
            state = world.state
            values = {"steer": steer, "throttle": throttle, "brake": brake, "speed": state.speed}
            values |= {"yaw_rate": state.yaw_rate, "curvature": state.curvature, "acceleration": state.acceleration}
            for name, value in {**values, "ego_pose": world.pose}.items():
                rows.setdefault(name, []).append(value)

        def frames() -> Iterator[tuple[int, np.ndarray | tuple[np.ndarray, ...]]]:
            again = ToyWorld(seed, **self._options)
            for t, command in zip(t_ns.tolist(), commands, strict=True):
                again.step(*command)
                images = tuple(again.render(camera) for camera in self.cameras)
                yield t, images[0] if len(images) == 1 else images

        def read(name: str) -> Callable[[int], np.ndarray]:
            def readings() -> Iterator[np.ndarray]:
                again = ToyWorld(seed, **self._options)
                for n, command in enumerate(commands):
                    again.step(*command)
                    if n % READINGS[name].every == 0:
                        yield READINGS[name].read(again, self.cameras[0])

            return Forward(readings)

        return Recording(
            name=f"toyroad-{self._seed:04d}-{index:05d}",
            source="toyroad",
            frames=frames,
            signals={name: Signal(t_ns, np.array(values, dtype=np.float32)) for name, values in rows.items()},
            calibration={**world.calibration, **{name: self._placed(name, world) for name in self._sensors}},
            sensors={
                name: Sensor(READINGS[name].kind, READINGS[name].fields, t_ns[:: READINGS[name].every], read(name))
                for name in self._sensors
            },
            period_ns=round(1e9 / world.fps),
        )

    def _placed(self, name: str, world: ToyWorld) -> dict:
        """The calibration of a sensor: a picture's is its camera's."""
        if READINGS[name].kind == "image":
            return world.calibration[self.cameras[0]]
        to_ego = np.eye(4)
        to_ego[:3, 3] = READINGS[name].mount
        return {"to_ego": to_ego.tolist()}


def _names(given: tuple[str, ...] | str) -> tuple[str, ...]:
    return tuple(filter(None, given.split("+"))) if isinstance(given, str) else tuple(given)
