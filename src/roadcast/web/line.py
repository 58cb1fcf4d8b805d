"""What a conversation needs of whatever carries it: a WebSocket (connection.py), or one of the ways in extras."""

from abc import ABC, abstractmethod

from roadcast.web.video import Encode, encoder

NORMAL, POLICY_VIOLATION, INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER = 1000, 1008, 1011, 1012, 1013


class Left(Exception):  # noqa: N818
    """The client is gone. Where it meant to go its session ends; where the line broke the session waits for it."""

    def __init__(self, meant: bool):
        super().__init__("the client has left")
        self.meant = meant


class Line(ABC):
    """A way to a client and back, for the messages of protocol.py. Whatever cannot be said any more is dropped; `hear` tells why."""

    @abstractmethod
    async def hear(self) -> str | bytes:
        """The client's next message; bytes where it is no text. Raises `Left`."""

    @abstractmethod
    async def say(self, message: str) -> None:
        """Send a text message."""

    def encoder(self, codec: str, fps: float, height: int, width: int) -> Encode:
        """What makes frames' pictures for this client. Raises `UserError` for a codec that is not to be had."""
        return encoder(codec, fps, height, width)

    @abstractmethod
    async def show(self, frame: bytes) -> None:
        """Send a frame; returns when the line can take another. Raises `Left` when it takes no more."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """End it, with one of protocol.py's codes."""
