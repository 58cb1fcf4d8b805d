"""The application on a socket, until it is told to leave."""

import socket

import uvicorn
from fastapi import FastAPI

from roadcast.errors import UserError
from roadcast.web.protocol import MAX_MESSAGE_BYTES
from roadcast.web.server import Server


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
            app, log_config=None, ws_max_size=MAX_MESSAGE_BYTES, ws_ping_interval=5, ws_ping_timeout=5,
            ws_per_message_deflate=False, timeout_graceful_shutdown=2, server_header=False,
        )  # fmt: skip
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
