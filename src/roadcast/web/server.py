"""What all requests to one server share: its models, its clips and jobs, who is connected, and whether it is leaving."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roadcast.errors import UserError
from roadcast.serving.backend import Backend, SessionBackend
from roadcast.serving.seat import Full, Gone, Limits
from roadcast.web.auth import Rate, Tokens
from roadcast.web.clips import Clips
from roadcast.web.conductor import Conductor
from roadcast.web.jobs import Jobs
from roadcast.web.metrics import Metrics
from roadcast.web.settings import Settings

if TYPE_CHECKING:
    from roadcast.serving.session import Session
    from roadcast.web.conversation import Conversation

LEAVING_S = 5.0
STUCK_S = 60.0

log = logging.getLogger(__name__)


class Capped(UserError):  # noqa: N818
    """One of the server's caps has been reached."""


class Server:
    """The models by name, the first for those who name none. Opens them at once, and raises what their factories raise."""

    def __init__(
        self,
        models: dict[str, Callable[[], Backend]],
        settings: Settings | None = None,
        tokens: Tokens | None = None,
        fps: float | None = None,
    ):
        self.settings, self.tokens = settings or Settings(), tokens or Tokens({})
        self.metrics = Metrics(
            lambda: sum(len(one.wheels) for one in self.conductors.values()),
            lambda: sum(len(one.admission) for one in self.conductors.values()),
        )
        self.conductors = {
            name: Conductor(factory, name, self.settings, self.metrics, fps) for name, factory in models.items()
        }
        self.clips, self.jobs = Clips(self.settings), Jobs(self.settings)
        self.posts = Rate(self.settings.posts_per_minute / 60, self.settings.posts_per_minute)
        self.connections: set[Conversation] = set()
        self._opening: Counter[str] = Counter()
        self.leaving = False
        self._running: list[asyncio.Task] = []

    def start(self) -> None:
        """Begin to drive, on the running event loop."""
        self._running = [asyncio.create_task(one.run()) for one in self.conductors.values()]
        for task in self._running:
            task.add_done_callback(_fallen)

    async def drain(self) -> None:
        """Take no more sessions, and give every client what it needs to go on elsewhere."""
        self.leaving = True
        self.jobs.cancel_all()
        moving = [asyncio.create_task(one.migrate()) for one in self.connections]
        if moving:
            await asyncio.wait(moving, timeout=LEAVING_S)

    async def stop(self) -> None:
        """Drain, and let everything go."""
        await self.drain()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for one in self.conductors.values():
            one.model.close()
        self.jobs.close()

    @property
    def alive(self) -> bool:
        """Whether every model is still being driven, and none has been at one call for STUCK_S."""
        stuck = any(one.model.busy_s > STUCK_S for one in self.conductors.values())
        return not stuck and not any(task.done() for task in self._running)

    def conductor(self, model: str = "") -> Conductor:
        """The conductor of a model. Raises `Gone` for one that is not served, `Full` when the server is leaving."""
        if self.leaving:
            raise Full(1.0)
        if (name := model or next(iter(self.conductors))) not in self.conductors:
            raise Gone(f"there is no model {model[:40]}; choose one of {', '.join(self.conductors)}")
        return self.conductors[name]

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """A session is opened inside the block. Raises `Capped` if the holder of a token has as many as it may, open or on their way."""
        most = self.settings.sessions
        callers = [wheel.caller for one in self.conductors.values() for wheel in one.wheels.values()]
        if caller and callers.count(caller) + self._opening[caller] >= most:
            raise Capped(f"{most} sessions are open with this token, as many as may be; close one")
        self._opening[caller] += 1
        try:
            yield
        finally:
            self._opening[caller] -= 1


def _fallen(running: asyncio.Task) -> None:
    if not running.cancelled():
        log.critical("a model is driven no more", exc_info=running.exception())


def one_seat(session_factory: "Callable[[], Session]", name: str = "roadcast", fps: float | None = None) -> Server:
    """A server of one session, for as long as its driver likes; who comes meanwhile is told to come again."""
    forever = Settings(limits=Limits(age_s=math.inf, idle_s=math.inf), queue=0)
    return Server({name: lambda: SessionBackend([session_factory()])}, forever, fps=fps)
