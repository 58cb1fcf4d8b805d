"""The server behind `roadcast drive`: one page, one WebSocket, one driver at a time."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from roadcast.errors import UserError
from roadcast.web.driver import Driver, World
from roadcast.web.messages import parse
from roadcast.web.protocol import VERSION

if TYPE_CHECKING:
    from roadcast.serving.session import Session

STATIC = Path(__file__).parent / "static"
MAX_MESSAGE_BYTES = 4096
POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER = 1008, 1011, 1013
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger(__name__)


def create_app(session_factory: "Callable[[], Session]", title: str = "roadcast", fps: float | None = None) -> FastAPI:
    """The web application that drives one session, which the factory opens at once on the thread it will live on.

    `title` names the model on the page; `fps` overrides the session's own pace. Raises what the factory raises.
    """
    world = World(session_factory, fps)
    seat = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        yield
        world.close()

    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.middleware("http")
    async def add_headers(request, call_next):
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/healthz")
    async def health() -> dict:
        return {"status": "ok", "busy": seat.locked()}

    @app.get("/info")
    async def info() -> dict:
        session = world.session
        return {
            "name": title, "protocol": VERSION, "fps": world.fps, "width": session.width, "height": session.height,
            "actions": list(session.actions), "scenes": list(session.scenes),
        }  # fmt: skip

    @app.websocket("/drive")
    async def drive(client: WebSocket) -> None:
        await client.accept()
        origin = client.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != client.headers.get("host"):
            await client.close(POLICY_VIOLATION, "open the page from this server")
        elif seat.locked():
            await client.close(TRY_AGAIN_LATER, "busy")
        else:
            async with seat:
                await _drive(client, world)

    return app


async def _drive(client: WebSocket, world: World) -> None:
    """One drive, from the first message until the client leaves or the world fails."""
    driver = Driver(world, client.send_bytes)
    tasks = [asyncio.create_task(_listen(client, driver)), asyncio.create_task(driver.run())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for fault in outcomes:
        if isinstance(fault, Exception) and not isinstance(fault, WebSocketDisconnect):
            log.error("the drive ended: %s", fault, exc_info=None if isinstance(fault, UserError) else fault)
            reason = str(fault) if isinstance(fault, UserError) else "the world failed; see the server's log"
            await client.close(INTERNAL_ERROR, reason.encode()[:120].decode(errors="ignore"))
            return


async def _listen(client: WebSocket, driver: Driver) -> None:
    while True:
        message = await client.receive()
        if message["type"] == "webclient.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            if (text := message.get("text")) is None:
                raise UserError("the message is binary; send JSON text")
            driver.handle(parse(text))
        except UserError as error:
            await client.send_text(json.dumps({"type": "error", "message": str(error)}))


def serve(
    session_factory: "Callable[[], Session]",
    host: str = "127.0.0.1",
    port: int = 8000,
    title: str = "roadcast",
    fps: float | None = None,
) -> None:
    """Serve the page until interrupted, after one printed line with its URL; port 0 takes a free one.

    Raises `UserError` when the address cannot be had.
    """
    with _bind(host, port) as listener:
        app = create_app(session_factory, title, fps)
        shown = f"[{host}]" if ":" in host else host
        print(f"{title}: drive at http://{shown}:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", ws_max_size=MAX_MESSAGE_BYTES, ws_ping_interval=5, ws_ping_timeout=5,
            ws_per_message_deflate=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


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
