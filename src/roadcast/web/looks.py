"""What scenes look like: the last frame of each, as JPEG, made when it is first asked for."""

import asyncio

from roadcast.serving.engine import Engine
from roadcast.web.conductor import Conductor
from roadcast.web.video import jpeg


class Looks:
    """The pictures that have been made, by version and scene."""

    def __init__(self):
        self._kept: dict[tuple[str, int], bytes] = {}
        self._making = asyncio.Lock()

    async def of(self, conductor: Conductor, scene: int) -> bytes:
        """The picture of one scene of the conductor's model. Raises `Full` while every seat is taken, `UserError` for no scene."""
        conductor.check_scene(scene)
        key = conductor.backend.version, scene
        async with self._making:
            if key not in self._kept:
                self._kept[key] = await conductor.model.call(_look, conductor.engine, scene)
        return self._kept[key]


def _look(engine: Engine, scene: int) -> bytes:
    """One call on the model's thread: nobody else sees that a seat was taken."""
    seat = engine.create(scene, seed=0)
    try:
        return jpeg(seat.shown.frame_HWC)
    finally:
        engine.close(seat.id, "looked")
