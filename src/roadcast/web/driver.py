"""The loop that drives one session for one client: step at the world's pace, send the newest frame there is credit for.

Two tasks share one slot. The stepper fills it, the sender empties it, and a frame that found no credit is replaced by
the next: a slow client misses frames but never sees an old one. The model has one thread and the encoder another, so
that frame t is encoded while frame t + 1 is computed and the event loop stays free.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from roadcast.errors import UserError
from roadcast.web.messages import Controls, Create, Credit, Pace, Pause, Reset
from roadcast.web.protocol import MAX_CREDIT, Frame

if TYPE_CHECKING:
    from roadcast.serving.session import Session

JPEG_QUALITY = 92
STALL_S = 1.0
"""A client that gives no credit for so long is taken to be away: its world waits."""


class World:
    """A session that lives on one thread of its own, with a second thread to encode what it shows.

    Raises what the factory raises; `UserError` for an `fps` that is no rate.
    """

    def __init__(self, session_factory: "Callable[[], Session]", fps: float | None = None):
        if fps is not None and not 0 < fps <= 1000:
            raise UserError(f"fps = {fps} is no frame rate; use a number above 0, up to 1000")
        self._model = ThreadPoolExecutor(1, "world")
        self._encoder = ThreadPoolExecutor(1, "encoder")
        self.session = self._model.submit(session_factory).result()
        self.fps = fps or self.session.fps

    async def reset(self, reset: Reset) -> np.ndarray:
        """The first frame, HWC RGB uint8, of a scene begun anew."""
        return await self._on(self._model, self.session.reset, reset.scene, reset.seed)

    async def step(self, controls: Controls) -> np.ndarray:
        """The next frame, HWC RGB uint8. A world without a brake is slowed by negative throttle instead."""
        action = {"steer": controls.steer, "throttle": controls.throttle, "brake": controls.brake}
        if "brake" not in self.session.actions:
            action["throttle"] = max(-1.0, controls.throttle - controls.brake)
        action = {name: value for name, value in action.items() if name in self.session.actions}
        return await self._on(self._model, self.session.step, action)

    async def encode(self, frame_HWC: np.ndarray) -> bytes:
        """The frame as JPEG."""
        return await self._on(self._encoder, _jpeg, frame_HWC)

    def close(self) -> None:
        """Let both threads go; a step under way finishes unseen."""
        for thread in (self._model, self._encoder):
            thread.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    async def _on(thread: ThreadPoolExecutor, function: Callable, *arguments):
        return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)


def _jpeg(frame_HWC: np.ndarray) -> bytes:
    bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return data.tobytes()


@dataclass(frozen=True)
class _Shot:
    """A frame between the stepper and the sender."""

    frame_HWC: np.ndarray
    frame_id: int
    action_id: int
    stepped_ns: int
    step_ms: float
    first: bool


class Driver:
    """One client at the wheel: `handle` takes its messages, `run` steps the world and sends frames until cancelled."""

    def __init__(self, world: World, send: Callable[[bytes], Awaitable[None]]):
        self._world, self._send = world, send
        self._changed = asyncio.Event()
        self._controls = Controls(0)
        self._reset: Reset | None = Reset()
        self._paused = self._unlimited = False
        self._credit = 0
        self._shot: _Shot | None = None
        self._unsent_since: float | None = None
        self._frame_id = 0

    def handle(self, message: object) -> None:
        """Take one message of the client's; `UserError` for a scene the session does not have."""
        match message:
            case Controls():
                self._controls = message
            case Credit():
                self._credit = min(self._credit + message.frames, MAX_CREDIT)
            case Create() | Reset():
                if message.scene >= (scenes := len(self._world.session.scenes)):
                    raise UserError(f"reset: scene = {message.scene}, but there are {scenes}; use 0 to {scenes - 1}")
                self._reset = Reset(message.scene, message.seed)
            case Pause():
                self._paused = message.paused
            case Pace():
                self._unlimited = message.unlimited
        self._changed.set()

    async def run(self) -> None:
        """Step and send until cancelled; raises what the session or `send` raises."""
        tasks = [asyncio.create_task(self._step_forever()), asyncio.create_task(self._send_forever())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step_forever(self) -> None:
        clock, due = asyncio.get_running_loop().time, 0.0
        period = 1 / self._world.fps
        while True:
            await self._until(self._may_step)
            reset, self._reset = self._reset, None
            if reset is None and not self._unlimited and (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
                continue
            now = clock()
            due = min(max(due, now - period), now) + period  # one late step is made good, a longer delay is forgotten
            controls = self._controls
            start_ns = time.monotonic_ns()
            frame_HWC = await (self._world.step(controls) if reset is None else self._world.reset(reset))
            step_ms = (time.monotonic_ns() - start_ns) / 1e6
            self._frame_id += 1
            action_id = controls.id if reset is None else 0
            self._shot = _Shot(frame_HWC, self._frame_id, action_id, start_ns, step_ms, first=reset is not None)
            if self._unsent_since is None:
                self._unsent_since = clock()
            self._changed.set()

    def _may_step(self) -> bool:
        if self._reset is not None:
            return True
        if self._paused:
            return False
        if self._shot is None:
            return True
        away = asyncio.get_running_loop().time() - self._unsent_since > STALL_S
        return not self._shot.first and not self._unlimited and not away

    async def _send_forever(self) -> None:
        while True:
            await self._until(lambda: self._credit > 0 and self._shot is not None)
            shot, self._shot, self._unsent_since = self._shot, None, None
            assert shot is not None
            self._credit -= 1
            self._changed.set()
            start_ns = time.monotonic_ns()
            jpeg = await self._world.encode(shot.frame_HWC)
            ready_ns = time.monotonic_ns()
            height, width = shot.frame_HWC.shape[:2]
            frame = Frame(
                width, height, shot.frame_id, shot.action_id, 0, 0, 0, math.nan, shot.stepped_ns, ready_ns, 0.0,
                shot.step_ms, (ready_ns - start_ns) / 1e6, "", shot.first, jpeg=jpeg,
            )  # fmt: skip
            await self._send(frame.pack())

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()
