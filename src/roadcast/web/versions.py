"""The versions of one model that a server has loaded: which of them a new session is given, how another one comes, and how a bad one goes.

Everything here lives on the event loop's thread; what may take long (the registry, the gate, loading) has threads of its own.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from roadcast.serving.action_log import Context
from roadcast.serving.canary import Traffic
from roadcast.serving.releases import Releases, Wanted
from roadcast.serving.rollback import Guard
from roadcast.web.admission import Admission
from roadcast.web.apart import apart
from roadcast.web.conductor import MOVED, Conductor, commands
from roadcast.web.messages import Create, Migrate, runs
from roadcast.web.metrics import Metrics
from roadcast.web.settings import Settings
from roadcast.web.wheel import Ending, Wheel

TEND_S = 1.0
POLL_S = 2.0
"""Between two looks at the registry."""
HUNG_S, STUCK_S = 20.0, 60.0
"""A version that is at one call for so long is given up, where there is another; and where there is none, the process."""
MINUTE_S = 60.0
"""A version that has been loaded for so long is no danger to the process; one that was is tried again after so long."""
TOLD_S = 5.0
"""For how long a server that leaves waits for the registry to hear of it."""
OWED_S = 15.0
"""For how long the seat of a session that was sent on is kept for it."""

Role = Literal["stable", "before", "canary", "leaving"]
"""Of a version: what new sessions get, what they would go back to, what some of them try, what only live ones are on still."""

log = logging.getLogger(__name__)


class Versions:
    """One model: its versions as `releases` wants them, each with its conductor, and the line of those who wait for a seat on any.

    The version that is wanted, or else one before it, is loaded at once; raises what loading it raises.
    """

    def __init__(
        self,
        name: str,
        releases: Releases,
        settings: Settings,
        metrics: Metrics,
        fps: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self.releases, self.settings, self.metrics, self.fps, self.clock = (
            name, releases, settings, metrics, fps, clock,
        )  # fmt: skip
        self.conductors: dict[int, Conductor] = {}
        self.refused: dict[int, str] = {}
        self._admission: Admission | None = None
        self._not_before: dict[int, float] = {}
        self._young: dict[int, float] = {}
        self._owed: dict[tuple, float] = {}
        self._polled_s = clock()
        self._poll: asyncio.Future[Wanted] | None = None
        self._loading: asyncio.Task | None = None
        self._running: asyncio.Task | None = None
        self._tasks: set[asyncio.Future] = set()
        self._wanted = releases.wanted()
        first = self._first(self._wanted)
        self.traffic = Traffic(first)
        self.guard = Guard(self.traffic)
        self.guard.watches[first] = self.conductors[first].watch

    # ---- new sessions

    @property
    def stable(self) -> Conductor:
        """What new sessions are driven by."""
        return self.conductors[self.traffic.stable]

    @property
    def admission(self) -> Admission:
        """The line for seats on whichever version."""
        assert self._admission is not None
        return self._admission

    @property
    def sessions(self) -> list[Wheel]:
        """All that are open, on all versions."""
        return [wheel for one in self.conductors.values() for wheel in one.wheels.values()]

    def roles(self) -> dict[int, Role]:
        """What each loaded version is for, oldest first."""
        told = self.traffic
        roles: dict[int | None, Role] = {told.before: "before", told.canary: "canary", told.stable: "stable"}
        return {number: roles.get(number, "leaving") for number in sorted(self.conductors)}

    async def create(
        self, ask: Create, clip: Context | None, caller: str, told: Callable[[int], Awaitable[None]]
    ) -> tuple[Conductor, Wheel]:
        """A new session without a driver as yet, once a seat is free, and who drives it; `told` hears the position in the line.

        Raises `Full` and `UserError`.
        """
        self.stable.check_scene(ask.scene)
        if self._owed.pop(_key(ask), None) is None:
            await self.admission.enter(told)
        conductor = self.conductors[self._version(ask.model)]
        return conductor, await conductor.create(ask, clip, caller)

    def _version(self, model: str) -> int:
        """The version that "mine/3" names, where it is among those that have new sessions; else the one that is this session's by lot."""
        number = model.rpartition("/")[2] if model != self.name else ""
        if number.isdigit() and int(number) in self.traffic.kept:
            return int(number)
        return self.traffic.choose(secrets.token_hex(8))

    # ---- once a second

    def start(self) -> None:
        """Begin to drive and to tend, on the running event loop."""
        for conductor in self.conductors.values():
            conductor.start()
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let everything go."""
        for task in (self._running, self._loading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for number in list(self.conductors):
            await self._close(number)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=TOLD_S)

    @property
    def alive(self) -> bool:
        """Whether new sessions are driven, and versions tended."""
        tended = self._running is None or not self._running.done()
        return tended and not self.stable.fallen and self.stable.model.busy_s <= STUCK_S

    async def tend(self) -> None:
        """Take bad versions out of traffic, follow what is wanted, and close what nobody needs. Never waits for long."""
        now = self.clock()
        for number, conductor in list(self.conductors.items()):
            if why := _lost(conductor):
                if self.guard.condemn(number, why):
                    self._take_out(number, why)
                if number in self.guard.condemned:
                    await self._abandon(number)
            elif number in self._young and now - self._young[number] >= MINUTE_S:
                del self._young[number]
                self._tell(self.releases.lived, number)
        for number, why in self.guard.tend().items():
            self._take_out(number, why)
        for key in [key for key, until in self._owed.items() if now >= until]:
            del self._owed[key]
            self.admission.leave()
        self._look(now)
        self._follow(self._wanted, now)
        for number, conductor in list(self.conductors.items()):
            if number not in self.traffic.kept and conductor.empty:
                log.info("%s/%d is needed no more", self.name, number)
                await self._close(number)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            try:
                await self.tend()
            except Exception:
                log.exception("%s: its versions could not be tended", self.name)

    def _look(self, now: float) -> None:
        """Ask what is wanted, every so often."""
        if self._poll is None:
            if now - self._polled_s >= POLL_S:
                self._poll = apart(self.releases.wanted)
        elif self._poll.done():
            poll, self._poll, self._polled_s = self._poll, None, now
            if (error := poll.exception()) is not None:
                log.warning("%s: the registry cannot be asked (%s)", self.name, error)
            else:
                self._wanted = poll.result()

    def _follow(self, wanted: Wanted, now: float) -> None:
        """Give new sessions what is wanted as far as it is loaded, and load the first of what is not."""

        def usable(number: int) -> bool:
            return number not in self.guard.condemned and number not in self.refused

        traffic = self.traffic
        line = [number for number in wanted.line if usable(number) and now >= self._not_before.get(number, now)]
        ready = [number for number in line if number in self.conductors]
        if ready and ready[0] != traffic.stable:
            log.info("%s: new sessions get version %d", self.name, ready[0])
            traffic.stable = ready[0]
        others = [number for number in ready if number != traffic.stable]
        traffic.before = others[0] if others else None
        tried = wanted.canary if wanted.canary is not None and usable(wanted.canary) else None
        traffic.canary = tried if tried in self.conductors and tried != traffic.stable else None
        traffic.share = wanted.share if traffic.canary is not None else 0.0
        if self._loading is None or self._loading.done():
            needed = [*line[:1], *([] if tried is None else [tried]), *line[1:2]]
            if missing := [number for number in needed if number not in self.conductors]:
                self._loading = asyncio.create_task(self._load(missing[0]))

    # ---- loading and letting go

    def _first(self, wanted: Wanted) -> int:
        """Load the first of the line that can be; one that has ended a process comes last, for it may do it again."""
        deadly = [number for number in wanted.line[:2] if self.releases.deaths(number)]
        numbers = [number for number in wanted.line if number not in deadly] + deadly
        faults: list[Exception] = []
        for number in numbers:
            try:
                self.conductors[number] = self._open(number)
            except Exception as error:
                self.refused[number] = str(error)
                faults.append(error)
            else:
                self._not_before = {other: self.clock() + MINUTE_S for other in deadly if other != number}
                return number
        raise faults[0]

    def _open(self, number: int) -> Conductor:
        """A version that may have traffic, loaded. Takes long, on whichever thread; raises what went wrong, once it is recorded."""
        try:
            self.releases.admit(number)
            conductor = Conductor(
                lambda: self.releases.open(number), self.name, self.settings, self.metrics, self.fps,
                self._admission, self.releases.known(number), self.clock,
            )  # fmt: skip
        except Exception as error:
            log.error("%s/%d is refused: %s", self.name, number, error)
            self.releases.closed(number)
            self.releases.refuse(number, str(error))
            raise
        conductor.rescue = lambda wheel: self._send_on(number, wheel)
        self._admission = conductor.admission
        self._young[number] = self.clock()
        return conductor

    async def _load(self, number: int) -> None:
        log.info("%s: version %d is being loaded", self.name, number)
        try:
            conductor = await apart(self._open, number)
        except asyncio.CancelledError:
            self._tell(self.releases.closed, number)
            raise
        except Exception as error:
            self.refused[number] = str(error)
            return
        self.guard.watches[number] = conductor.watch
        self.conductors[number] = conductor
        conductor.start()
        self._follow(self._wanted, self.clock())

    async def _close(self, number: int) -> None:
        conductor = self.conductors.pop(number)
        self.guard.watches.pop(number, None)
        await conductor.stop()
        if self._young.pop(number, None) is not None:
            self._tell(self.releases.closed, number)

    # ---- bad versions

    def _take_out(self, number: int, why: str) -> None:
        """A version is out of traffic: tell so, and send on the sessions that see nothing on it. All others stay."""
        log.error("%s/%d is taken out of traffic: %s", self.name, number, why)
        self.metrics.rollbacks.inc()
        self._tell(self.releases.quarantine, number, why)
        for wheel in list(self.conductors[number].wheels.values()):
            if wheel.fault is not None:
                self._send_on(number, wheel)

    async def _abandon(self, number: int) -> None:
        """A version that answers no more is left to itself: its sessions go on elsewhere by their logs."""
        conductor = self.conductors[number]
        for wheel in list(conductor.wheels.values()):
            if not self._send_on(number, wheel):
                conductor.close(wheel, "moved")
                self.admission.leave()
        await self._close(number)

    def _send_on(self, number: int, wheel: Wheel) -> bool:
        """Let a session go on at a good version, by its log and in the seat it had; false where there is none, or nobody to tell."""
        others = [other for other in (self.traffic.stable, self.traffic.before) if other not in (None, number)]
        conductor, start = self.conductors[number], wheel.start
        seat = conductor.engine.seats.get(wheel.id)
        if not others or wheel.driver is None or seat is None:
            return False
        lived = commands(seat)
        rows = runs([*lived, *wheel.script] if wheel.catching_up else lived)
        told = Migrate(f"{self.name}/{others[0]}", str(others[0]), start.scene, start.seed, start.clip, rows)
        self._owed[_key(told)] = self.clock() + OWED_S
        conductor.close(wheel, "moved", Ending("", f"version {number} is out of service", MOVED, told))
        return True

    def _tell(self, tell: Callable[..., object], *what: object) -> None:
        """Tell the releases something, and do not wait for it."""
        self._spawn(apart(tell, *what))

    def _spawn(self, work: Awaitable) -> None:
        self._tasks.add(task := asyncio.ensure_future(work))
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: %s", self.name, error, exc_info=error)


def _lost(conductor: Conductor) -> str | None:
    """Why a version drives nobody any more, None where it does."""
    if conductor.fallen:
        return "its loop has fallen"
    if conductor.model.busy_s > HUNG_S:
        return f"was at one call for more than {HUNG_S:.0f} s"
    return None


def _key(told: Create | Migrate) -> tuple:
    """What a session that was sent on and its `create` have in common."""
    return told.scene, told.seed, told.clip, tuple(map(tuple, told.log))
