"""A session as the server sees it: what drives it, what it has made, and what of that its client has not been sent yet.

The conductor fills the slot `shot`, the client's sender empties it, and a frame that found no credit is replaced by the
next: a slow client misses frames but never sees an old one. All of this lives on the event loop's thread.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from roadcast.serving.backend import Shown
from roadcast.serving.health import Fault
from roadcast.web.messages import Controls, Migrate
from roadcast.web.protocol import MAX_CREDIT

STALL_S = 1.0
"""A client that gives no credit for so long is taken to be away: its world waits."""

Command = tuple[float, float, float]
"""steer, throttle, brake."""


@dataclass(frozen=True)
class Ending:
    """Why the server ends a session or a connection: a code and a message for the client, and how the WebSocket is closed.

    moved  what the client is told to go on with
    """

    code: str
    message: str
    close_code: int
    moved: Migrate | None = None


@dataclass(frozen=True)
class Start:
    """How a world began: at a scene, or at the end of the clip of this id."""

    scene: int = 0
    seed: int = 0
    clip: str = ""


@dataclass(frozen=True)
class Turn:
    """One step to make: its command, and which of the client's actions it comes from (id 0: none, or the log's)."""

    command: Command
    action_id: int = 0
    action_time: float = 0.0
    replayed: bool = False
    shown: bool = True


@dataclass(frozen=True)
class Shot:
    """A frame between the conductor and the sender."""

    frame_HWC: np.ndarray
    uncertainty: float
    frame_id: int
    step: int
    start: Start
    turn: Turn
    stepped_ns: int
    step_ms: float
    first: bool
    action_ids: tuple[int, ...] = ()


class Driver:
    """Who holds a wheel: hands, eyes (the credit), and whether the world is to wait.

    hurried    as fast as the world can, and no frame left out
    """

    def __init__(self, credit: float = 0, hurried: bool = False):
        self.controls, self.credit, self.hurried, self.paused = Controls(0), credit, hurried, False
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def give(self, frames: int) -> None:
        """Credit for so many more frames; it does not pile up."""
        self.credit = min(self.credit + frames, MAX_CREDIT)

    def end(self, ending: Ending) -> None:
        """Tell the driver that there is nothing more to drive; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(ending)


class Wheel:
    """One open session. `wake` is called whenever it may have become possible to step it."""

    def __init__(self, id: str, start: Start, caller: str, wake: Callable[[], None]):
        self.id, self.start, self.caller, self._wake = id, start, caller, wake
        self.driver: Driver | None = None
        self.script: deque[Command] = deque()
        self.show_script = False
        self.held = 0
        self.step = self.frame_id = 0
        self.due = self.stepped_s = self.left_s = 0.0
        self.shot: Shot | None = None
        self.fault: Fault | None = None
        self._unsent_s = 0.0
        self._unsent_ids: list[int] = []
        self._news = asyncio.Event()

    @property
    def catching_up(self) -> bool:
        """Whether it is being driven by a log, unseen."""
        return bool(self.script) and not self.show_script

    @property
    def background(self) -> bool:
        """Whether nobody waits for its next frame at a certain time."""
        return self.catching_up or (self.driver is not None and self.driver.hurried)

    def due_at(self, now: float) -> float | None:
        """When the next step is to be made; None while there is something to wait for."""
        driver = self.driver
        if self.held or driver is None:
            return None
        if self.catching_up:
            return now
        if driver.paused:
            return None
        if (shot := self.shot) is not None and (shot.first or driver.hurried or now - self._unsent_s > STALL_S):
            return None
        return now if driver.hurried else self.due

    def turn(self) -> Turn:
        """What the next step is made with."""
        if self.script:
            return Turn(self.script[0], replayed=True, shown=self.show_script or len(self.script) == 1)
        assert self.driver is not None
        controls = self.driver.controls
        return Turn((controls.steer, controls.throttle, controls.brake), controls.id, controls.time)

    def made(self, turn: Turn, shown: Shown, stepped_ns: int, step_ms: float, now: float) -> bool:
        """Take in what a step has made; whether a frame that was not sent yet has given way to it."""
        self.step += 1
        self.stepped_s = now
        if turn.replayed:
            self.script.popleft()
        if not turn.shown:
            self.frame_id += 1
            return False
        unseen = turn.replayed and not self.show_script
        if not turn.replayed:
            self._unsent_ids.append(turn.action_id)
        return self._put(shown, turn, stepped_ns, step_ms, now, first=unseen)

    def begun(self, shown: Shown, step: int, now_ns: int, now: float) -> None:
        """Go on from a world that no action has led to: a scene's begin, or a moment gone back to."""
        self.step = step
        if not self.catching_up:
            self._put(shown, Turn((0.0, 0.0, 0.0)), now_ns, 0.0, now, first=True)
        self.wake()

    async def next_shot(self) -> Shot:
        """The newest frame, as soon as there is one and credit for it."""
        assert self.driver is not None
        while self.shot is None or self.driver.credit <= 0:
            self._news.clear()
            await self._news.wait()
        shot, self.shot = replace(self.shot, action_ids=tuple(self._unsent_ids)), None
        self._unsent_ids.clear()
        self.driver.credit -= 1
        self._wake()
        return shot

    def wake(self) -> None:
        """Something has changed: let the sender and the conductor look again."""
        self._news.set()
        self._wake()

    def _put(self, shown: Shown, turn: Turn, stepped_ns: int, step_ms: float, now: float, first: bool) -> bool:
        self.frame_id += 1
        if first:
            self._unsent_ids.clear()
        dropped = self.shot is not None
        if not dropped:
            self._unsent_s = now
        uncertainty = math.nan if shown.uncertainty is None else shown.uncertainty
        self.shot = Shot(
            shown.frame_HWC, uncertainty, self.frame_id, self.step, self.start, turn, stepped_ns, step_ms, first
        )
        self._news.set()
        return dropped
