"""Drive a world that a roadcast server holds, from Python: `with connect("http://127.0.0.1:8000") as drive: drive.step(...)`.

Needs the package websockets (it comes with the extra `serve`). The protocol is told in roadcast/web/protocol.py.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from roadcast.errors import UserError
from roadcast.web.messages import (
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
    Log,
    Migrate,
    Opened,
    Pace,
    Queued,
    Reset,
    Restore,
    Resume,
    Rewind,
    Row,
    dump,
    parse_reply,
    runs,
    unrolled,
)
from roadcast.web.protocol import SUBPROTOCOL, Frame

LARGEST = 2**26
Answer = TypeVar("Answer")


class Refused(UserError):  # noqa: N818
    """The server did not do what was asked: `error` says why."""

    def __init__(self, error: Error):
        super().__init__(error.message)
        self.error = error


class Moved(RuntimeError):  # noqa: N818
    """The server has left or is lost: `connect` to another one with `create=self.again` goes on where this one was."""

    def __init__(self, again: Create):
        super().__init__("the server has left; go on at another one with the log")
        self.again = again


@dataclass
class Drive:
    """One session, driven. Frames are not asked for one by one: the world goes on by its own clock, and each call sees the newest.

    opened   what the server said of the session
    version  of the model, as the newest frame has it
    """

    socket: ClientConnection
    asked: Create
    opened: Opened
    action_id: int = 0
    _past: list[tuple[float, float, float]] = field(default_factory=list)
    _said: dict[int, tuple[float, float, float]] = field(default_factory=lambda: {0: (0.0, 0.0, 0.0)})

    def act(self, steer: float = 0.0, throttle: float = 0.0, brake: float = 0.0) -> int:
        """Move the controls (steer positive left); the id that the answering frames carry."""
        self.action_id += 1
        controls = Controls(self.action_id, steer, throttle, brake, time.monotonic() * 1e3)
        self._said[self.action_id] = (round(steer, 4), round(throttle, 4), round(brake, 4))
        self._tell(controls)
        return self.action_id

    def frame(self, timeout: float = 30.0) -> Frame:
        """The next frame that there is. Raises `Moved`, `Refused`, and `TimeoutError` when none comes in `timeout` seconds."""
        self._tell(Credit(1))
        while True:
            message = self._next(timeout)
            if isinstance(message, Frame):
                return message

    def step(self, steer: float = 0.0, throttle: float = 0.0, brake: float = 0.0, timeout: float = 30.0) -> Frame:
        """Move the controls, and the first frame that has seen it."""
        wanted = self.act(steer, throttle, brake)
        while (frame := self.frame(timeout)).action_id < wanted:
            pass
        return frame

    def reset(self, scene: int = 0, seed: int = 0) -> Frame:
        """Begin anew: the first frame."""
        self._tell(Reset(scene, seed))
        self.asked = Create(self.asked.model, scene, seed, codec=self.asked.codec)
        return self._first()

    def snapshot(self) -> str:
        """Keep this moment: its name for `restore`."""
        return self._ask(Keep(), Kept).snapshot

    def restore(self, snapshot: str) -> Frame:
        """Go on from a moment kept."""
        self._tell(Restore(snapshot))
        frame = self._first()
        self._past = list(unrolled(self.log().log))[: frame.step]
        return frame

    def rewind(self, step: int) -> Frame:
        """Go on from an earlier step."""
        self._tell(Rewind(step))
        return self._first()

    def branch(self) -> str:
        """A second session from this moment: its id for `connect(resume=...)`."""
        return self._ask(Branch(), Branched).session

    def log(self) -> Log:
        """All that has led to this moment, told by the server."""
        return self._ask(AskLog(), Log)

    def hurry(self, hurried: bool = True) -> None:
        """Let the world go as fast as model and client can, no frame left out."""
        self._tell(Pace(hurried))

    @property
    def again(self) -> Create:
        """What to create at another server to go on from the newest frame seen, without asking this one."""
        rows: list[Row] = runs(self._past)
        return replace(self.asked, log=rows, show=False)

    def close(self) -> None:
        """End the session."""
        self._tell(Close())
        self.socket.close()

    def _first(self) -> Frame:
        while not (frame := self.frame()).first:
            pass
        return frame

    def _ask(self, message: object, answer: type[Answer]) -> Answer:
        self._tell(message)
        while not isinstance(reply := self._next(30.0), answer):
            pass
        return reply

    def _tell(self, message: object) -> None:
        try:
            self.socket.send(dump(message))
        except ConnectionClosed:
            raise Moved(self.again) from None

    def _next(self, timeout: float) -> object:
        try:
            message = self.socket.recv(timeout)
        except ConnectionClosed:
            raise Moved(self.again) from None
        if isinstance(message, bytes):
            return self._seen(Frame.unpack(message))
        reply = parse_reply(message)
        if isinstance(reply, Error):
            raise Refused(reply)
        if isinstance(reply, Migrate):
            raise Moved(Create(reply.model, reply.scene, reply.seed, reply.clip, reply.log, codec=self.asked.codec))
        return reply

    def _seen(self, frame: Frame) -> Frame:
        """Take a frame into the log kept here: by the ids of its actions, or, where none led to it, by its step."""
        self._past += [self._said[id] for id in frame.action_ids]
        del self._past[frame.step :]
        for id in [id for id in self._said if frame.action_ids and 0 < id < frame.action_ids[-1]]:
            del self._said[id]
        return frame


@contextmanager
def connect(
    url: str, create: Create | None = None, resume: str = "", token: str = "", timeout: float = 30.0
) -> Iterator[Drive]:
    """A session at the server of this address (http://HOST:PORT), new, or the open one of the id `resume`; closed at the end.

    Pictures are JPEG, or, with `Create(codec="h264")`, which counts for a resumed session too, access units of one H.264
    stream. Waits in the server's line when it is full. Raises `Refused`, and `OSError` where no server answers.
    """
    asked = create or Create()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = url.rstrip("/").replace("http", "ws", 1) + "/drive"
    with open_socket(
        address, additional_headers=headers, subprotocols=[SUBPROTOCOL], max_size=LARGEST, compression=None, open_timeout=timeout
    ) as socket:  # fmt: skip
        socket.send(dump(Resume(resume, asked.codec) if resume else asked))
        while isinstance(reply := parse_reply(str(socket.recv(timeout))), Queued):
            pass
        if isinstance(reply, Error):
            raise Refused(reply)
        drive = Drive(socket, asked, reply)
        if resume:
            told = drive.log()
            drive.asked = Create(told.model, told.scene, told.seed, told.clip, codec=asked.codec)
            drive._past = list(unrolled(told.log))
        else:
            drive._past = list(unrolled(asked.log))
        yield drive
        try:
            drive.close()
        except Moved:
            return  # it is over already


def models(url: str, token: str = "") -> list[dict]:
    """The models that a server has: GET /v1/models."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url.rstrip('/')}/v1/models", headers=headers), timeout=30
    ) as answer:
        return json.load(answer)
