"""The application on a socket, until it is told to leave."""

import asyncio
import gc
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from roadcast.errors import UserError
from roadcast.web.protocol import MAX_MESSAGE_BYTES
from roadcast.web.server import Server

HEADER_S = 10.0
CONNECTIONS = 1000
"""At once; who comes then is answered 503."""


class Prompt(HttpToolsProtocol):
    """A connection on which no whole request begins for HEADER_S, while none is under way, is closed, trickle as it may."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin to look at the connection every so often."""
        super().connection_made(transport)
        self._seen: object = None
        self.loop.call_later(HEADER_S, self._look)

    def _look(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # closed, or a WebSocket by now
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self.loop.call_later(HEADER_S, self._look)


class Draining(uvicorn.Server):
    """On SIGTERM or SIGINT clients are first given what they need to go on elsewhere, while they can still be talked to."""

    def __init__(self, config: uvicorn.Config, server: Server):
        super().__init__(config)
        self._server = server

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close what is left."""
        if not self.force_exit:
            await self._server.drain()
        await super().shutdown(sockets)


def listen(app: FastAPI, host: str, port: int) -> None:
    """Serve until interrupted, after one printed line with the page's URL; port 0 takes a free one.

    Raises `UserError` when the address cannot be had.
    """
    with _bind(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        print(f"{app.title}: drive at http://{shown}:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            app, http=Prompt, limit_concurrency=CONNECTIONS, log_config=None, ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=5, ws_ping_timeout=5, ws_per_message_deflate=False, timeout_graceful_shutdown=2, server_header=False,
        )  # fmt: skip
        gc.collect()
        gc.freeze()  # what there is by now stays: to look at all of it takes a full collection a fifth of a second, in which no one drives
        Draining(config, app.state.server).run(sockets=[listener])


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"cannot serve on {host} port {port}: {error}; choose another with --host or --port") from None
    return listener
