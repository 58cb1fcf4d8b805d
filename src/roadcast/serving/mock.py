"""A session without a model: toyroad itself, driven live. For the page, its tests and measurements of the server."""

import numpy as np

from roadcast.data.toyroad import ToyWorld
from roadcast.data.toyroad.weather import WEATHERS


class MockSession:
    """One driver's toyroad; a scene is a weather, and the seed lays the road.

    `height` and `width` in pixels, `fps` in Hz; raises `UserError` for what toyroad cannot draw.
    """

    actions: tuple[str, ...] = ("steer", "throttle", "brake")

    def __init__(self, height: int = 256, width: int = 512, fps: float = 20.0):
        self.height, self.width, self.fps = height, width, fps
        self.scenes: list[str] = list(WEATHERS)
        self.reset()

    def reset(self, scene: int = 0, seed: int = 0) -> np.ndarray:
        """The first frame, HWC RGB uint8, of scene number `scene`."""
        self._world = ToyWorld(seed, self.height, self.width, self.fps, weather=self.scenes[scene])
        return self._world.render()

    def step(self, action: dict[str, float]) -> np.ndarray:
        """The next frame, HWC RGB uint8, under steer, throttle and brake; one left out is 0."""
        self._world.step(*(action.get(name, 0.0) for name in self.actions))
        return self._world.render()

    def snapshot(self) -> ToyWorld:
        """The world as it is now, untouched by later steps."""
        return self._world.copy()

    def restore(self, snapshot: object) -> None:
        """Go on from `snapshot`, which stays as it is and can be gone back to again."""
        assert isinstance(snapshot, ToyWorld)
        self._world = snapshot.copy()
