"""The engine: sessions by id, each in a slot of one model, stepped together. Synchronous, and for one thread."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from roadcast.errors import UserError
from roadcast.serving.action_log import ActionLog, Context, Start
from roadcast.serving.backend import Backend, NotFinite, Shown
from roadcast.serving.seat import Broken, Counts, Full, Gone, Limits, Moment, Seat


class Engine:
    """Up to `backend.slots` sessions, each at its own frame. What raises has changed no session.

    clock  seconds, monotonic
    """

    def __init__(self, backend: Backend, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic):
        self.backend, self.limits, self.clock = backend, limits or Limits(), clock
        self.seats: dict[str, Seat] = {}
        self.counts = Counts()
        self._free = list(range(backend.slots))[::-1]

    def create(self, scene: int = 0, seed: int = 0) -> Seat:
        """A new session at a scene's last frame. Raises `Full`; `UserError` for a scene that is not there."""
        return self._create(Start(scene, seed))

    def create_from_clip(
        self, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray, seed: int = 0
    ) -> Seat:
        """A new session at the end of the user's own clip, as `Backend.begin_from` takes it. Raises `Full` and `UserError`."""
        return self._create(Start(0, seed, Context(frames_FHWC, actions_FA, known_FA)))

    def replay(self, log: ActionLog) -> Seat:
        """A new session that has lived through `log`: at the same frame, bit for bit, on the same machine and version of the model.

        Takes as long as the steps of the log do. Raises `Full`; `UserError` for a log of another world.
        """
        if log.actions != self.backend.actions:
            raise UserError(
                f"log: actions are {', '.join(log.actions)}; this world's are {', '.join(self.backend.actions)}"
            )
        seat = self._create(log.start)
        try:
            for action in log:
                self.step({seat.id: action})
        except BaseException:
            self.close(seat.id, "failed")
            raise
        return seat

    def branch(self, id: str) -> Seat:
        """A new session, without snapshots, whose past and present are those of `id`. Raises `Full` and `Gone`."""
        seat = self[id]
        with self._slot() as slot:
            self.backend.restore(slot, self.backend.snapshot(seat.slot))
            return self._seat(slot, seat.log.first(len(seat.log)), seat.shown)

    def step(self, actions: Mapping[str, Mapping[str, float]]) -> dict[str, Shown]:
        """The next frame of each of these sessions under its command (a control not named is unknown): one tick of the model.

        Raises `Gone`; `UserError` for a command that cannot be used; `Broken`; and what the model raises.
        """
        seats = {id: self[id] for id in actions}
        for id, seat in seats.items():
            seat.log.check(actions[id])
        try:
            shown = self.backend.step({seat.slot: dict(actions[id]) for id, seat in seats.items()})
        except NotFinite as error:
            self.counts.failures["not finite"] += 1
            raise Broken([id for id, seat in seats.items() if seat.slot in error.slots]) from error
        except Exception:
            self.counts.failures["raised"] += 1
            raise
        for id, seat in seats.items():
            seat.log.append(actions[id])
            seat.shown, seat.used_s = shown[seat.slot], self.clock()
        self.counts.steps += 1
        self.counts.frames += len(seats)
        return {id: seat.shown for id, seat in seats.items()}

    def reset(self, id: str, scene: int = 0, seed: int = 0) -> Shown:
        """Begin anew, without snapshots, in the same session. Raises `Gone`; `UserError` for a scene that is not there."""
        seat, start = self.touch(id), Start(scene, seed)
        seat.shown = self._begin(seat.slot, start)
        seat.log = ActionLog(start, self.backend.actions)
        seat.snapshots.clear()
        return seat.shown

    def snapshot(self, id: str) -> str:
        """Keep the present moment, and say under which id; the oldest goes where there are too many."""
        seat, name = self.touch(id), secrets.token_urlsafe(8)
        seat.snapshots[name] = Moment(self.backend.snapshot(seat.slot), seat.log, len(seat.log), seat.shown)
        while len(seat.snapshots) > self.limits.snapshots:
            seat.snapshots.popitem(last=False)
        return name

    def restore(self, id: str, snapshot: str) -> Shown:
        """Go back, or across, to a snapshot of this session, which stays good. Raises `Gone`."""
        seat = self.touch(id)
        if (moment := seat.snapshots.get(snapshot)) is None:
            raise Gone(f"session {id} has no snapshot {snapshot[:40]}, or no longer")
        self.backend.restore(seat.slot, moment.state)
        seat.log, seat.shown = moment.past, moment.shown
        return seat.shown

    def touch(self, id: str) -> Seat:
        """The session, which counts as used now. Raises `Gone`."""
        seat = self[id]
        seat.used_s = self.clock()
        return seat

    def close(self, id: str, reason: str = "closed") -> None:
        """End a session and free its slot. Raises `Gone`."""
        seat = self[id]
        del self.seats[id]
        self.backend.free(seat.slot)
        self._free.append(seat.slot)
        self.counts.closed[reason] += 1

    def expire(self) -> dict[str, str]:
        """Close the sessions that are too old or idle for too long; their ids, and which: "age" or "idle"."""
        now, ended = self.clock(), {}
        for seat in self.seats.values():
            if now >= seat.created_s + self.limits.age_s:
                ended[seat.id] = "age"
            elif now >= seat.used_s + self.limits.idle_s:
                ended[seat.id] = "idle"
        for id, reason in ended.items():
            self.close(id, reason)
        return ended

    def __getitem__(self, id: str) -> Seat:
        if id not in self.seats:
            raise Gone(f"there is no session {id}, or no longer")
        return self.seats[id]

    def __len__(self) -> int:
        return len(self.seats)

    def _create(self, start: Start) -> Seat:
        with self._slot() as slot:
            return self._seat(slot, ActionLog(start, self.backend.actions), self._begin(slot, start))

    def _begin(self, slot: int, start: Start) -> Shown:
        if (clip := start.context) is None:
            return Shown(self.backend.begin(slot, start.scene, start.seed))
        return Shown(self.backend.begin_from(slot, clip.frames_FHWC, clip.actions_FA, clip.known_FA, start.seed))

    def _seat(self, slot: int, log: ActionLog, shown: Shown) -> Seat:
        now = self.clock()
        seat = Seat(secrets.token_urlsafe(16), slot, now, now, log, shown)
        self.seats[seat.id] = seat
        self.counts.created += 1
        return seat

    @contextmanager
    def _slot(self) -> Iterator[int]:
        """A free slot, which stays free if the block raises. Raises `Full`."""
        if not self._free:
            raise Full(max(1.0, min(map(self._ends_s, self.seats.values()), default=1.0) - self.clock()))
        slot = self._free.pop()
        try:
            yield slot
        except BaseException:
            self._free.append(slot)
            raise

    def _ends_s(self, seat: Seat) -> float:
        """When a session is closed if nobody asks anything more of it."""
        return min(seat.created_s + self.limits.age_s, seat.used_s + self.limits.idle_s)
