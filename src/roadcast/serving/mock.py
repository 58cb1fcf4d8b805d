"""Sessions without a model: toyroad itself, driven live. For the page, its tests and measurements of the server."""

import zlib

import numpy as np

from roadcast.data.toyroad import ToyWorld
from roadcast.data.toyroad.weather import WEATHERS
from roadcast.serving.backend import SessionBackend, check_clip


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


class MockBackend(SessionBackend):
    """Several drivers' toyroads, for the engine and the server without a model.

    A clip cannot be lived through here: its pixels lay the road, which is then driven under its commands, so that the same clip begins
    the same world and another clip another.
    """

    sessions: list[MockSession]

    def __init__(self, slots: int = 8, height: int = 256, width: int = 512, fps: float = 20.0):
        super().__init__([MockSession(height, width, fps) for _ in range(slots)], version="mock")

    def begin_from(
        self, slot: int, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray, seed: int
    ) -> np.ndarray:
        check_clip(self, frames_FHWC, actions_FA, known_FA)
        road = zlib.crc32(np.ascontiguousarray(frames_FHWC), seed)
        frame_HWC = self.begin(slot, scene=0, seed=road)
        for action_A, known_A in zip(actions_FA, known_FA, strict=True):
            named = zip(self.actions, action_A, known_A, strict=True)
            frame_HWC = self.sessions[slot].step({name: float(value) for name, value, known in named if known})
        return frame_HWC
