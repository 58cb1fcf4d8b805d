"""All sessions of one model: opened, ended, gone back with, and driven; every tick steps together those that are due.

What the model's thread is asked comes back in the order of asking, so that a wheel is never told of a step after it has
been told of a later reset.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from roadcast.errors import UserError
from roadcast.serving.action_log import Context
from roadcast.serving.backend import Backend, Shown
from roadcast.serving.engine import Engine
from roadcast.serving.foreign import Known, is_foreign
from roadcast.serving.health import Fault, picture_fault
from roadcast.serving.rollback import Limits, Watch
from roadcast.serving.seat import Broken, Full, Gone, Seat
from roadcast.web.admission import Admission
from roadcast.web.logs import about
from roadcast.web.messages import Create, Log, runs, unrolled
from roadcast.web.metrics import Metrics
from roadcast.web.model_thread import ModelThread
from roadcast.web.protocol import MAX_LOG_STEPS
from roadcast.web.settings import Settings
from roadcast.web.wheel import Command, Driver, Ending, Start, Wheel

SLACK = 1 / 8
"""Where steps are batched, a session that is due within this part of a period is stepped with those that are due now, and is in step with
them from then on."""
KEEP_EVERY_S = 4.0
"""Seconds of a session's own time between the moments kept for going back."""
EXPIRE_EVERY_S = 1.0

SLOW_FRAMES = 2.0
"""Times 1 / fps that the 99th percentile of a step may take, where the settings give no limit."""

EXPIRED, BROKEN, MOVED = 4408, 1011, 1012

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stepped:
    """What a step has made, by session: frames, and what is plainly wrong with them; and how long the model took."""

    shown: dict[str, Shown]
    faults: dict[str, Fault | None]
    seconds: float


class Conductor:
    """One version of a model and the sessions on it, which it drives from `start` to `stop`.

    admission  of the model, in which whoever calls `create` has entered; None: one of its own
    fps        overrides the model's own pace
    known      what steps are like (serving/foreign.py)
    clock      of `watch`, which is told of every step
    rescue     is given a session that cannot go on here: true once it knows where else to

    Raises what the factory raises, which is called at once on the model's thread; `UserError` for an `fps` that is no rate.
    """

    def __init__(
        self,
        backend_factory: Callable[[], Backend],
        name: str,
        settings: Settings,
        metrics: Metrics,
        fps: float | None = None,
        admission: Admission | None = None,
        known: Known | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        if fps is not None and not 0 < fps <= 1000:
            raise UserError(f"fps = {fps} is no frame rate; use a number above 0, up to 1000")
        self.name, self.settings, self.metrics, self.model = name, settings, metrics, ModelThread()
        self.engine = self.model.open(lambda: Engine(backend_factory(), settings.limits))
        self.backend = self.engine.backend
        self.fps = fps or self.backend.fps
        self.wheels: dict[str, Wheel] = {}
        self.admission = admission or Admission(self.backend.slots, settings.queue)
        self.known = known or {}
        self.rescue: Callable[[Wheel], bool] = lambda wheel: False
        self.watch = Watch(Limits(settings.slow_s or SLOW_FRAMES / self.fps), clock)
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Future] = set()
        self._slack_s = SLACK / self.fps if self.backend.batches else 0.0
        self._keep_every = max(1, round(KEEP_EVERY_S * self.fps))
        self._expire_at = 0.0
        self._opening = 0
        self._running: asyncio.Task | None = None
        metrics.info.labels(self.backend.version, name).set(1)

    def start(self) -> None:
        """Begin to drive, on the running event loop."""
        self._running = asyncio.create_task(self.run())
        self._running.add_done_callback(self._fallen)

    async def stop(self) -> None:
        """Drive no more, and let the model go; a call under way finishes unseen."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self.model.close()
        with contextlib.suppress(KeyError):
            self.metrics.info.remove(self.backend.version, self.name)

    @property
    def fallen(self) -> bool:
        """Whether it drives no more, though nobody stopped it."""
        return self._running is not None and self._running.done()

    @property
    def empty(self) -> bool:
        """Whether nobody is here, nor on the way in or out."""
        return not (self.wheels or self._opening or self.engine.seats)

    # ---- opening and ending

    async def create(self, ask: Create, clip: Context | None, caller: str) -> Wheel:
        """A new session, without a driver as yet, for a caller who has entered, and leaves if it comes to nothing. Raises `UserError`."""

        def begin() -> Seat:
            self.check_scene(ask.scene)
            if clip is None:
                return self.engine.create(ask.scene, ask.seed)
            return self.engine.create_from_clip(clip.frames_FHWC, clip.actions_FA, clip.known_FA, ask.seed)

        wheel = await self._seated(begin, Start(ask.scene, ask.seed, ask.clip), caller)
        wheel.script.extend(unrolled(ask.log))
        wheel.show_script = ask.show
        return wheel

    async def branch(self, wheel: Wheel) -> Wheel:
        """A second session from this moment, without a driver as yet. Raises `Full`."""
        self.admission.enter_now()
        with self._held(wheel):
            return await self._seated(lambda: self.engine.branch(wheel.id), wheel.start, wheel.caller)

    def close(self, wheel: Wheel, end: str, ending: Ending | None = None) -> None:
        """End a session, if it has not been ended yet; `end` is its reason in the metrics, `ending` what its driver is told."""
        if self._forget(wheel, end, ending):
            self._spawn(self._vacate(wheel.id, end))

    def attach(self, wheel: Wheel, driver: Driver) -> None:
        """Put a driver at a wheel that has none: first comes the world as it stands."""
        assert wheel.driver is None, "one wheel, one driver"
        wheel.driver = driver
        self._begun(wheel)

    def detach(self, wheel: Wheel) -> None:
        """Its driver is lost: the session waits for another one."""
        wheel.driver, wheel.left_s = None, self._now()

    def check_scene(self, scene: int) -> None:
        """Raise `UserError` unless the model has this scene."""
        if scene >= (scenes := len(self.backend.scenes)):
            raise UserError(f"scene = {scene}, but there are {scenes}; use 0 to {scenes - 1}")

    # ---- back and forth

    async def reset(self, wheel: Wheel, scene: int, seed: int) -> None:
        """Begin anew. Raises `UserError` for a scene that is not there."""
        self.check_scene(scene)

        def again() -> None:
            self.engine.reset(wheel.id, scene, seed)
            self.engine.snapshot(wheel.id)

        with self._held(wheel):
            await self.model.call(again)
            wheel.start = Start(scene, seed)
            wheel.script.clear()
            self._begun(wheel)

    async def snapshot(self, wheel: Wheel) -> tuple[str, int]:
        """Keep this moment: its name and its step."""
        return await self.model.call(lambda: (self.engine.snapshot(wheel.id), len(self.engine[wheel.id].log)))

    async def restore(self, wheel: Wheel, snapshot: str) -> None:
        """Go on from a moment kept. Raises `Gone`."""
        with self._held(wheel):
            await self.model.call(self.engine.restore, wheel.id, snapshot)
            wheel.script.clear()
            self._begun(wheel)

    async def rewind(self, wheel: Wheel, step: int) -> None:
        """Go on from an earlier step of the log, by way of the last moment kept before it.

        Raises `UserError` for a step that is yet to come, and for one from which nothing is kept any more.
        """
        with self._held(wheel):
            wheel.script = type(wheel.script)(await self.model.call(self._back, wheel.id, step))
            wheel.show_script = False
            self._begun(wheel)

    async def told(self, wheel: Wheel, kind: type[Log] = Log) -> Log:
        """All that has led to this moment."""
        rows = await self.model.call(lambda: runs(commands(self.engine[wheel.id])))
        start = wheel.start
        return kind(self.name, self.backend.version, start.scene, start.seed, start.clip, rows)

    def _back(self, id: str, step: int) -> list[Command]:
        """Put a session back to the last moment before `step`, and say which commands lead on to it."""
        seat = self.engine[id]
        if step > len(seat.log):
            raise UserError(f"rewind: step = {step}, but the session is at {len(seat.log)}; use an earlier one")
        past, lived = commands(seat), seat.log.values.tobytes()
        kept = {
            name: moment.steps
            for name, moment in seat.snapshots.items()
            if moment.log is seat.log or lived.startswith(moment.past.values.tobytes())
        }
        before = [name for name, steps in kept.items() if steps <= step]
        if not before:
            earliest = min(kept.values(), default=len(seat.log))
            raise UserError(f"rewind: step = {step} is no longer kept; the earliest is {earliest}")
        name = max(before, key=lambda name: kept[name])
        self.engine.restore(id, name)
        return past[kept[name] : step]

    # ---- the loop

    async def run(self) -> None:
        """Drive until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now = self._now()
            if now >= self._expire_at:
                self._expire_at = now + EXPIRE_EVERY_S
                await self._expire(now)
            due = {wheel: at for wheel in self.wheels.values() if (at := wheel.due_at(now)) is not None}
            self._news.clear()
            if chosen := self._chosen(due, now):
                await self._tick(chosen)
                continue
            timer = loop.call_later(min([self._expire_at, *due.values()]) - now, self._news.set)
            await self._news.wait()
            timer.cancel()

    def _chosen(self, due: dict[Wheel, float], now: float) -> list[Wheel]:
        """Who is stepped: all that are due, or the one that has been for longest where they are not batched, so that nobody's frame waits
        for another's. While anybody drives in real time, one only of those that no one waits for."""
        live = [wheel for wheel in due if not wheel.background]
        idle = sorted((wheel for wheel in due if wheel.background), key=lambda wheel: wheel.stepped_s)
        if not any(due[wheel] <= now for wheel in live):
            return idle if not live else idle[:1]
        chosen = [wheel for wheel in live if due[wheel] <= now + self._slack_s]
        if not self.backend.batches:
            chosen = [min(chosen, key=lambda wheel: due[wheel])]
        return chosen + idle[:1]

    async def _tick(self, wheels: list[Wheel]) -> None:
        """One step of these; if it fails, each alone, and who fails alone is ended. No one has moved before a step is whole."""
        turns = {wheel: wheel.turn() for wheel in wheels}
        keep = [wheel.id for wheel in wheels if not wheel.background and (wheel.step + 1) % self._keep_every == 0]
        now, start_ns = self._now(), time.monotonic_ns()
        try:
            made = await self.model.call(self._step, {wheel.id: turn.command for wheel, turn in turns.items()}, keep)
        except Exception as error:
            broken = [wheel for wheel in wheels if isinstance(error, Broken) and wheel.id in error.ids]
            if not isinstance(error, UserError | Gone):
                for _ in broken or [None]:
                    self.watch.step((time.monotonic_ns() - start_ns) / 1e9, "nan" if broken else "error")
            if broken or len(wheels) == 1:
                for wheel in broken or wheels:
                    self._break(wheel, error)
            else:
                for wheel in wheels:
                    if wheel.id in self.wheels and not wheel.held:
                        await self._tick([wheel])
            return
        self.metrics.step.observe(made.seconds)
        period = 1 / self.fps
        for wheel, turn in turns.items():
            shown, wheel.fault = made.shown[wheel.id], made.faults[wheel.id]
            foreign = shown.traits is not None and is_foreign(shown.traits, self.known)
            self.watch.step(made.seconds, wheel.fault, foreign)
            if foreign:
                self.metrics.out_of_distribution.inc()
            wheel.due = (
                min(max(wheel.due, now - period), now) + period
            )  # one late step is made good, a longer delay is forgotten
            if wheel.made(turn, shown, start_ns, made.seconds * 1e3, self._now()):
                self.metrics.dropped.inc()
            if wheel.step >= MAX_LOG_STEPS:
                self.close(wheel, "age", Ending("expired", "the session has been driven as long as it may be", EXPIRED))

    def _step(self, given: dict[str, Command], keep: list[str]) -> Stepped:
        actions = {id: action(command, self.backend.actions) for id, command in given.items()}
        before = {id: self.engine[id].shown.frame_HWC for id in actions}
        begun = time.perf_counter()
        shown = self.engine.step(actions)
        seconds = time.perf_counter() - begun
        faults = {id: picture_fault(shown[id].frame_HWC, before[id], actions[id]) for id in actions}
        try:
            for id in keep:
                self.engine.snapshot(id)
        except Exception:  # the step is made all the same
            log.exception("a moment could not be kept")
        return Stepped(shown, faults, seconds)

    async def _expire(self, now: float) -> None:
        for wheel in list(self.wheels.values()):
            if wheel.driver is None and not wheel.held and now > wheel.left_s + self.settings.linger_s:
                self.close(wheel, "lost")
        for id, end in (await self.model.call(self.engine.expire)).items():
            why = "the session has been open as long as it may be" if end == "age" else "nobody has driven for long"
            if (wheel := self.wheels.get(id)) is not None:
                self._forget(wheel, end, Ending("expired", why, EXPIRED))
            self.admission.leave()

    def _break(self, wheel: Wheel, error: Exception) -> None:
        with about(wheel.id):
            known = isinstance(error, UserError)
            log.error("the world failed: %s", error, exc_info=None if known else error)
            if not isinstance(error, UserError | Gone):
                self.watch.broke(len(self.wheels) - 1)
                if self.rescue(wheel):
                    return
        self.close(
            wheel, "broken", Ending("broken", str(error) if known else "the world failed; see the server's log", BROKEN)
        )

    # ---- seats

    async def _seated(self, make: Callable[[], Seat], start: Start, caller: str) -> Wheel:
        """The wheel of a seat that the model's thread makes; whoever asked has entered, and leaves if it comes to nothing."""

        def made() -> Seat:
            seat = make()
            self.engine.snapshot(seat.id)
            return seat

        self._opening += 1
        making = asyncio.ensure_future(self.model.call(made))
        making.add_done_callback(self._opened)
        try:
            seat = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._unwanted)
            if making.cancelled():  # not the caller is gone, but the version
                raise Full(1.0) from None
            raise
        except BaseException:
            self.admission.leave()
            raise
        wheel = self.wheels[seat.id] = Wheel(seat.id, start, caller, self._news.set)
        self.detach(wheel)
        return wheel

    def _opened(self, _: "asyncio.Future[Seat]") -> None:
        self._opening -= 1

    def _unwanted(self, making: "asyncio.Future[Seat]") -> None:
        """A seat came to be after whoever had asked for it was gone."""
        if making.cancelled() or making.exception():
            self.admission.leave()
        else:
            self._spawn(self._vacate(making.result().id, "lost"))

    def _forget(self, wheel: Wheel, end: str, ending: Ending | None) -> bool:
        if self.wheels.pop(wheel.id, None) is None:
            return False
        self.metrics.sessions.labels(end).inc()
        if wheel.driver is not None and ending is not None:
            wheel.driver.end(ending)
        return True

    async def _vacate(self, id: str, end: str) -> None:
        try:
            await self.model.call(self.engine.close, id, end)
        except Gone:
            return  # it had expired there, and its seat is given back already
        if end != "moved":  # its seat is kept for it elsewhere
            self.admission.leave()

    def _spawn(self, work: Awaitable) -> None:
        self._tasks.add(task := asyncio.ensure_future(work))
        task.add_done_callback(self._tasks.discard)

    def _begun(self, wheel: Wheel) -> None:
        seat = self.engine[wheel.id]
        wheel.begun(seat.shown, len(seat.log), time.monotonic_ns(), self._now())

    def _fallen(self, running: asyncio.Task) -> None:
        if not running.cancelled():
            log.critical("%s %s is driven no more", self.name, self.backend.version, exc_info=running.exception())

    @contextmanager
    def _held(self, wheel: Wheel) -> Iterator[None]:
        """No tick takes the wheel along inside the block."""
        wheel.held += 1
        try:
            yield
        finally:
            wheel.held -= 1
            wheel.wake()

    @staticmethod
    def _now() -> float:
        return time.monotonic()


def action(command: Command, controls: tuple[str, ...]) -> dict[str, float]:
    """A command in a model's own controls: one without a brake is slowed by negative throttle instead."""
    steer, throttle, brake = command
    if "brake" not in controls:
        throttle = max(-1.0, throttle - brake)
    values = {"steer": steer, "throttle": throttle, "brake": brake}
    return {name: value for name, value in values.items() if name in controls}


def commands(seat: Seat) -> list[Command]:
    """The command of every step that a session has made; `action` of them gives what the model was given."""
    return [(a.get("steer", 0.0), a.get("throttle", 0.0), a.get("brake", 0.0)) for a in seat.log]
