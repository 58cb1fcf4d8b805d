"""The web application: the page, the WebSocket at /drive, and over HTTP rollouts, models, health and metrics."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

import roadcast
from roadcast.errors import UserError
from roadcast.serving.seat import Full, Gone
from roadcast.web.auth import bearer, same_site, subprotocol
from roadcast.web.bodies import Bodies
from roadcast.web.connection import Connection
from roadcast.web.conversation import Conversation
from roadcast.web.health import health
from roadcast.web.line import POLICY_VIOLATION, TRY_AGAIN_LATER
from roadcast.web.listen import listen
from roadcast.web.protocol import MAX_MESSAGE_BYTES, VERSION
from roadcast.web.rest import CLIPS, rest
from roadcast.web.server import Capped, Server, one_seat
from roadcast.web.video import codecs

if TYPE_CHECKING:
    from starlette.responses import Response

    from roadcast.serving.session import Session

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "frame-ancestors 'self'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TOO_MANY, UNPROCESSABLE, NOT_FOUND = 429, 422, 404
TOLD = 4
"""Faults of one request that are named."""


def create_app(server: Server, title: str = "roadcast", beside: Sequence[AbstractAsyncContextManager] = ()) -> FastAPI:
    """The application over a server's models; `title` names it on the page. What is `beside` it is open as long as it is served."""

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        server.start()
        async with AsyncExitStack() as others:
            for other in beside:
                await others.enter_async_context(other)
            yield
            await server.stop()

    app = FastAPI(
        title=title, version=roadcast.__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="World models to be driven. The WebSocket at /drive is told in roadcast/web/protocol.py.",
    )  # fmt: skip
    app.state.server = server
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(rest(server))
    app.include_router(health(server))

    def most_bytes(path: str) -> int:
        return server.settings.clip_bytes if path.endswith(CLIPS) else MAX_MESSAGE_BYTES

    app.add_middleware(Bodies, most=most_bytes)

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable) -> "Response":
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(Full)
    async def full(_: Request, error: Full) -> JSONResponse:
        return _refusal(TOO_MANY, error, {"Retry-After": str(max(1, round(error.retry_after_s)))})

    @app.exception_handler(Gone)
    async def gone(_: Request, error: Gone) -> JSONResponse:
        return _refusal(NOT_FOUND, error)

    @app.exception_handler(UserError)
    async def unusable(_: Request, error: UserError) -> JSONResponse:
        return _refusal(TOO_MANY if isinstance(error, Capped) else UNPROCESSABLE, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """What was sent is not sent back: it may be what no JSON can hold."""
        faults = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:TOLD]]
        return _refusal(UNPROCESSABLE, UserError("; ".join(faults)))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/info")
    async def info() -> dict:
        """What the page shows before it drives: the first model."""
        conductor = next(iter(server.models.values())).stable
        backend = conductor.backend
        return {
            "name": title, "version": backend.version, "protocol": VERSION, "fps": conductor.fps,
            "width": backend.width, "height": backend.height,
            "actions": list(backend.actions), "scenes": list(backend.scenes), "codecs": codecs(),
        }  # fmt: skip

    @app.websocket("/drive")
    async def drive(client: WebSocket) -> None:
        offered = client.scope.get("subprotocols", [])
        await client.accept(subprotocol=subprotocol(offered))
        caller = server.tokens.holder(bearer(client.headers.get("authorization"), offered)) if server.tokens else ""
        if not same_site(client.headers.get("origin"), client.headers.get("host"), server.settings.origins):
            await client.close(POLICY_VIOLATION, "open the page from this server")
        elif caller is None:
            await client.close(POLICY_VIOLATION, "a token is needed that this server knows")
        elif server.leaving:
            await client.close(TRY_AGAIN_LATER, "this server is leaving")
        elif len(server.connections) >= server.settings.connections:
            await client.close(TRY_AGAIN_LATER, "too many connections are open")
        else:
            await Conversation(Connection(client), server, caller).run()

    return app


def serve(
    session_factory: "Callable[[], Session]",
    host: str = "127.0.0.1",
    port: int = 8000,
    title: str = "roadcast",
    fps: float | None = None,
) -> None:
    """Serve one session, opened at once on the thread it will live on, until interrupted: what `roadcast drive` does.

    `title` names the model on the page; `fps` overrides the session's own pace. Raises what the factory raises, and as `listen`.
    """
    listen(create_app(one_seat(session_factory, title, fps), title), host, port)


def _refusal(status: int, error: Exception, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": str(error).encode(errors="replace").decode()}, status, headers)
