"""What all requests to one server share: its models, its clips and jobs, who is connected, and whether it is leaving."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roadcast.errors import UserError
from roadcast.serving.backend import Backend, SessionBackend
from roadcast.serving.releases import One, Releases
from roadcast.serving.seat import Full, Gone, Limits
from roadcast.web.auth import Rate, Tokens
from roadcast.web.clips import Clips
from roadcast.web.conductor import Conductor
from roadcast.web.jobs import Jobs
from roadcast.web.metrics import Metrics
from roadcast.web.settings import Settings
from roadcast.web.versions import Versions

if TYPE_CHECKING:
    from roadcast.serving.session import Session
    from roadcast.web.conversation import Conversation

LEAVING_S = 5.0


class Capped(UserError):  # noqa: N818
    """One of the server's caps has been reached."""


class Server:
    """The models by name, the first for those who name none: each what a factory makes, or as its releases have it.

    Opens them at once, and raises what that raises.
    """

    def __init__(
        self,
        models: Mapping[str, Callable[[], Backend] | Releases],
        settings: Settings | None = None,
        tokens: Tokens | None = None,
        fps: float | None = None,
    ):
        self.settings, self.tokens = settings or Settings(), tokens or Tokens({})
        self.metrics = Metrics(
            lambda: sum(len(one.sessions) for one in self.models.values()),
            lambda: sum(len(one.admission) for one in self.models.values()),
        )
        self.models = {
            name: Versions(name, One(given) if callable(given) else given, self.settings, self.metrics, fps)
            for name, given in models.items()
        }
        self.clips, self.jobs = Clips(self.settings), Jobs(self.settings)
        self.posts = Rate(self.settings.posts_per_minute / 60, self.settings.posts_per_minute)
        self.connections: set[Conversation] = set()
        self._opening: Counter[str] = Counter()
        self.leaving = False

    def start(self) -> None:
        """Begin to drive, on the running event loop."""
        for versions in self.models.values():
            versions.start()

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
        for versions in self.models.values():
            await versions.stop()
        self.jobs.close()

    @property
    def alive(self) -> bool:
        """Whether new sessions of every model are being driven."""
        return all(versions.alive for versions in self.models.values())

    @property
    def conductors(self) -> list[Conductor]:
        """Of all versions of all models."""
        return [conductor for versions in self.models.values() for conductor in versions.conductors.values()]

    def versions(self, model: str = "") -> Versions:
        """Those of a model, named "mine" or, as a session that is sent on names it, "mine/3".

        Raises `Gone` for one that is not served, `Full` when the server is leaving.
        """
        if self.leaving:
            raise Full(1.0)
        name = model if model in self.models else model.rpartition("/")[0] if "/" in model else model
        if (name := name or next(iter(self.models))) not in self.models:
            raise Gone(f"there is no model {model[:40]}; choose one of {', '.join(self.models)}")
        return self.models[name]

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """A session is opened inside the block. Raises `Capped` if the holder of a token has as many as it may, open or on their way."""
        most = self.settings.sessions
        callers = [wheel.caller for one in self.models.values() for wheel in one.sessions]
        if caller and callers.count(caller) + self._opening[caller] >= most:
            raise Capped(f"{most} sessions are open with this token, as many as may be; close one")
        self._opening[caller] += 1
        try:
            yield
        finally:
            self._opening[caller] -= 1


def one_seat(session_factory: "Callable[[], Session]", name: str = "roadcast", fps: float | None = None) -> Server:
    """A server of one session, for as long as its driver likes; who comes meanwhile is told to come again."""
    forever = Settings(limits=Limits(age_s=math.inf, idle_s=math.inf), queue=0)
    return Server({name: lambda: SessionBackend([session_factory()])}, forever, fps=fps)
