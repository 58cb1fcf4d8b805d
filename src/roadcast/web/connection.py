"""The line that every browser has: a WebSocket."""

import contextlib

from fastapi import WebSocket, WebSocketDisconnect

from roadcast.web.line import Left, Line

CLEAN = (1000, 1001, 1005)
"""Codes with which a client closes that means to. With any other the connection is lost."""
NO_CODE = 1005


class Connection(Line):
    """A `Line` over a WebSocket that has been accepted."""

    def __init__(self, client: WebSocket):
        self._client = client

    async def hear(self) -> str | bytes:
        """The next message, text or not."""
        message = await self._client.receive()
        if message["type"] == "websocket.disconnect":
            raise Left(meant=(message.get("code") or NO_CODE) in CLEAN)
        text = message.get("text")
        return message.get("bytes") or b"" if text is None else text

    async def say(self, message: str) -> None:
        """A text message."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._client.send_text(message)

    async def show(self, frame: bytes) -> None:
        """A binary message."""
        try:
            await self._client.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError):  # the latter where the connection is closed already
            raise Left(meant=False) from None

    async def close(self, code: int, reason: str) -> None:
        """With as much of the reason as a WebSocket can tell."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._client.close(code, reason.encode()[:120].decode(errors="ignore"))
