"""Recordings driven in the toy world: data for tests, the demo, and whoever has none."""

from collections.abc import Iterator

import numpy as np

from roadcast.data.sources.base import Recording, Signal
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.errors import UserError


class ToyroadSource:
    """`recordings` drives of `frames` frames each, every one in a world of its own; fixed by `seed` and its number.

    cameras   names of `roadcast.data.toyroad.camera.MOUNTS`, or one string joined by "+": "front+left"
    weather   one of `roadcast.data.toyroad.weather.WEATHERS`, or None for one by the seed
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
    ):
        for name, value, least in (("recordings", recordings, 1), ("frames", frames, 1), ("seed", seed, 0)):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise UserError(f"toyroad {name} = {value}: give a whole number of at least {least}")
        self.cameras = tuple(cameras.split("+")) if isinstance(cameras, str) else tuple(cameras)
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

        return Recording(
            name=f"toyroad-{self._seed:04d}-{index:05d}",
            source="toyroad",
            frames=frames,
            signals={name: Signal(t_ns, np.array(values, dtype=np.float32)) for name, values in rows.items()},
            calibration=world.calibration,
        )
