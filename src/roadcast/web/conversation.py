"""One client, by whatever line it is reached: what it says is obeyed, what its session shows is sent, and how it ends is told."""

import asyncio
import contextlib
import logging
import time

from roadcast.errors import UserError
from roadcast.serving.seat import Full, Gone
from roadcast.web.auth import Rate
from roadcast.web.conductor import Conductor
from roadcast.web.line import INTERNAL_ERROR, NORMAL, POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER, Left, Line
from roadcast.web.messages import (
    AskKey,
    AskLog,
    Branch,
    Branched,
    Close,
    Controls,
    Create,
    Credit,
    Error,
    Keep,
    Kept,
    Migrate,
    Opened,
    Pace,
    Pause,
    Queued,
    Reset,
    Restore,
    Resume,
    Rewind,
    dump,
    parse,
)
from roadcast.web.sender import Sender
from roadcast.web.server import Capped, Server
from roadcast.web.video import Encode
from roadcast.web.wheel import Driver, Ending, Wheel

FIRST_S = 30.0
"""A connection on which no session is asked for so long is closed."""
MESSAGE_BYTES = 1024
"""A longer message counts as several."""
LONG = 2**16
"""Characters from which on a message is read on a thread, so that others are driven meanwhile."""

log = logging.getLogger(__name__)


class Conversation:
    """From the first message until client, session or server ends it."""

    def __init__(self, line: Line, server: Server, caller: str):
        self._line, self._server, self._caller = line, server, caller
        self._driver = Driver()
        self._wheel: Wheel | None = None
        self._conductor: Conductor | None = None
        self._opening: asyncio.Task | None = None
        self._encode: Encode | None = None
        self._sender: Sender | None = None
        self._sending: asyncio.Task | None = None
        self._asked_s = 0.0
        self._rate = Rate(server.settings.messages_per_s, server.settings.messages_per_s)

    async def run(self) -> None:
        """Talk to the client; returns when it is over. The server's `connections` know of it meanwhile."""
        self._server.connections.add(self)
        listening = asyncio.create_task(self._listen())
        patience = asyncio.get_running_loop().call_later(FIRST_S, self._lose_patience)
        meant = False
        try:
            await asyncio.wait([listening, self._driver.ended], return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                meant = listening.result()
            else:
                await self._say_goodbye(self._driver.ended.result())
        finally:
            patience.cancel()
            self._server.connections.discard(self)
            self._leave_wheel(meant)
            tasks = [task for task in (listening, self._opening, self._sending) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def migrate(self) -> None:
        """The server is leaving: give the client the log to go on with elsewhere, and close."""
        ending = Ending("limit", "this server is leaving", SERVICE_RESTART)
        if self._wheel is not None and self._conductor is not None and self._wheel.id in self._conductor.wheels:
            self._driver.paused = True
            with contextlib.suppress(Gone):
                told = await self._conductor.told(self._wheel, Migrate)
                ending = Ending("", "this server is leaving", SERVICE_RESTART, told)
        self._driver.end(ending)

    # ---- what the client says

    async def _listen(self) -> bool:
        """Obey until the client leaves: whether it meant to."""
        while True:
            try:
                said = await self._line.hear()
            except Left as left:
                return left.meant
            weight = 1 + len(said) / MESSAGE_BYTES
            while (wait := self._rate.wait_s(events=weight)) > 0:
                await asyncio.sleep(wait)
            try:
                if isinstance(said, bytes):
                    raise UserError("the message is binary; send JSON text")
                asked = parse(said) if len(said) < LONG else await asyncio.to_thread(parse, said)
                await asyncio.shield(asyncio.ensure_future(self._obey(asked)))
            except (UserError, Gone, Full) as error:
                await self._say(_refusal(error))

    async def _obey(self, message: object) -> None:
        driver = self._driver
        match message:
            case Controls():
                driver.controls = message
                if self._sender is not None:
                    self._sender.acted(message.id)
            case Credit():
                driver.give(message.frames)
            case Pause():
                driver.paused = message.paused
            case Pace():
                driver.hurried = message.unlimited
            case Create():
                self._open(self._create(message))
            case Resume():
                self._open(self._resume(message))
            case _:
                await self._obey_order(message)
                return
        if self._wheel is not None:
            self._wheel.wake()

    async def _obey_order(self, message: object) -> None:
        if (wheel := self._wheel) is None or (conductor := self._conductor) is None or (sender := self._sender) is None:
            raise UserError("there is no session yet; create or resume one first")
        if wheel.id not in conductor.wheels:
            return  # it has ended, which the client is being told
        match message:
            case Reset():
                await conductor.reset(wheel, message.scene, message.seed)
            case Keep():
                await self._say(Kept(*await conductor.snapshot(wheel)))
            case Restore():
                await conductor.restore(wheel, message.snapshot)
            case Rewind():
                await conductor.rewind(wheel, message.step)
            case Branch():
                with self._server.one_more(self._caller):
                    other = await conductor.branch(wheel)
                await self._say(Branched(other.id, wheel.step))
            case AskKey():
                sender.want_key()
            case AskLog():
                await self._say(await conductor.told(wheel))
            case Close():
                conductor.close(wheel, "closed")
                self._driver.end(Ending("", "closed", NORMAL))

    # ---- the session

    def _open(self, opening) -> None:
        if self._opening is not None:
            opening.close()
            raise UserError("this connection has its session; open another connection for another one")
        self._asked_s = time.monotonic()
        self._opening = asyncio.create_task(self._opened(opening))

    async def _opened(self, opening) -> None:
        """Wait for the session and take its wheel; what goes wrong ends the connection, or lets the client ask again."""
        try:
            wheel = await opening
        except Full as error:
            await self._say(_refusal(error))
            self._driver.end(Ending("", f"busy: try again in {error.retry_after_s:.0f} s", TRY_AGAIN_LATER))
        except (UserError, Gone) as error:
            self._opening = None
            await self._say(_refusal(error))
        except Exception as error:
            log.exception("a session could not be opened")
            self._driver.end(Ending("broken", "the world failed; see the server's log", INTERNAL_ERROR))
            raise error
        else:
            self._wheel, conductor = wheel, self._conductor
            assert conductor is not None and self._encode is not None
            self._sender = Sender(self._line, self._encode, wheel, conductor, self._asked_s)
            conductor.attach(wheel, self._driver)
            backend = conductor.backend
            await self._say(
                Opened(
                    wheel.id, conductor.name, backend.version, wheel.start.scene, wheel.start.seed, wheel.step,
                    conductor.fps, backend.width, backend.height, list(backend.actions), list(backend.scenes),
                )
            )  # fmt: skip
            self._sending = asyncio.create_task(self._sender.run())

    async def _create(self, ask: Create) -> Wheel:
        versions = self._server.versions(ask.model)
        clip = self._server.clips.context(ask.clip, versions.stable.backend) if ask.clip else None
        self._encode = self._encoder(ask.codec, versions.stable)

        async def told(position: int) -> None:
            await self._say(Queued(position))

        with self._server.one_more(self._caller):
            self._conductor, wheel = await versions.create(ask, clip, self._caller, told)
        return wheel

    async def _resume(self, ask: Resume) -> Wheel:
        for conductor in self._server.conductors:
            wheel = conductor.wheels.get(ask.session)
            if wheel is not None and wheel.caller == self._caller:
                if wheel.driver is not None:
                    raise Gone("the session is being driven by another connection")
                self._conductor, self._encode = conductor, self._encoder(ask.codec, conductor)
                return wheel
        raise Gone("there is no such session, or no longer")

    def _encoder(self, codec: str, conductor: Conductor) -> Encode:
        backend = conductor.backend
        return self._line.encoder(codec, conductor.fps, backend.height, backend.width)

    def _lose_patience(self) -> None:
        if self._opening is None:
            self._driver.end(Ending("limit", f"no session was asked for in {FIRST_S:g} s", POLICY_VIOLATION))

    def _leave_wheel(self, meant: bool) -> None:
        wheel, self._wheel = self._wheel, None
        if wheel is None or self._conductor is None or wheel.id not in self._conductor.wheels:
            return
        if meant:
            self._conductor.close(wheel, "closed")
        else:
            self._conductor.detach(wheel)

    async def _say(self, message: object) -> None:
        await self._line.say(dump(message))

    async def _say_goodbye(self, ending: Ending) -> None:
        if self._sending is not None:
            self._sending.cancel()  # no frame follows what is said now
        if ending.moved is not None:
            await self._say(ending.moved)
        if ending.code:
            await self._say(Error(ending.code, ending.message))
        await self._line.close(ending.close_code, ending.message)


def _refusal(error: UserError | Gone | Full) -> Error:
    """What a client is told of something that was not done, by protocol.py's codes."""
    match error:
        case Full():
            return Error("full", str(error), error.retry_after_s)
        case Gone():
            return Error("unknown", str(error))
        case Capped():
            return Error("limit", str(error))
    return Error("bad_message", str(error))
