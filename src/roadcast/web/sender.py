"""The frames of one session to one client: encoded off the event loop, sent as credit allows, and counted."""

import contextlib
import logging
import time

from roadcast.web.conductor import Conductor
from roadcast.web.line import INTERNAL_ERROR, Left, Line
from roadcast.web.logs import about
from roadcast.web.metrics import Metrics
from roadcast.web.protocol import Frame
from roadcast.web.video import Encode
from roadcast.web.wheel import Ending, Shot, Wheel

log = logging.getLogger(__name__)


class Sender:
    """Sends what the wheel shows, and nothing else is encoded. `asked_s`: when the client asked for the session."""

    def __init__(self, line: Line, encode: Encode, wheel: Wheel, conductor: Conductor, asked_s: float):
        self._line, self._encode, self._wheel, self._conductor = line, encode, wheel, conductor
        self._asked_s, self._key_wanted = asked_s, False
        self._sent_s: float | None = None
        self._acted: tuple[int, float] | None = None

    def acted(self, action_id: int) -> None:
        """The client has acted: measure until the first frame that has seen it."""
        self._acted = self._acted or (action_id, time.monotonic())

    def want_key(self) -> None:
        """The client has lost the thread: let the next picture need none before it."""
        self._key_wanted = True

    async def run(self) -> None:
        """Send frames until cancelled or until the client cannot be reached, of which the listener hears too."""
        with about(self._wheel.id), contextlib.suppress(Left):
            try:
                while True:
                    shot = await self._wheel.next_shot()
                    await self._line.show(await self._packed(shot))
                    self._count(shot, self._conductor.metrics)
            except Left:
                raise
            except Exception:
                log.exception("a frame could not be sent")
                if (driver := self._wheel.driver) is not None:
                    driver.end(Ending("broken", "the server failed; see its log", INTERNAL_ERROR))

    async def _packed(self, shot: Shot) -> bytes:
        start_ns = time.monotonic_ns()
        key, self._key_wanted = shot.first or self._key_wanted, False
        picture = await self._conductor.model.encode(self._encode, shot.frame_HWC, key)
        ready_ns = time.monotonic_ns()
        height, width = shot.frame_HWC.shape[:2]
        turn, live = shot.turn, not (shot.first or shot.turn.replayed)
        return Frame(
            width, height, shot.frame_id, turn.action_id, shot.step, shot.start.seed, shot.start.scene,
            shot.uncertainty, shot.stepped_ns, ready_ns, turn.action_time, shot.step_ms, (ready_ns - start_ns) / 1e6,
            self._conductor.backend.version, shot.first, turn.replayed and not shot.first,
            picture.h264, picture.key, shot.action_ids if live else (), picture.data,
        ).pack()  # fmt: skip

    def _count(self, shot: Shot, metrics: Metrics) -> None:
        now = time.monotonic()
        if self._sent_s is None:
            metrics.first_frame.observe(now - self._asked_s)
        else:
            metrics.frame_gap.observe(now - self._sent_s)
        self._sent_s = now
        if self._acted is not None and shot.turn.action_id >= self._acted[0]:
            metrics.action_to_frame.observe(now - self._acted[1])
            self._acted = None
