"""Whether the server lives, may be sent clients, and what it counts."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from roadcast.web.metrics import CONTENT_TYPE
from roadcast.web.server import Server

UNAVAILABLE = 503


class Health(BaseModel):
    """A probe's answer: "ok", or what is not."""

    status: str


def health(server: Server) -> APIRouter:
    """The probes and the metrics. They need no token: a network policy keeps strangers from them."""
    router = APIRouter(tags=["health"])
    answers = {200: {"model": Health}, UNAVAILABLE: {"model": Health, "description": "No"}}

    def answer(well: bool, status: str) -> JSONResponse:
        return JSONResponse({"status": status}, 200 if well else UNAVAILABLE)

    @router.get("/livez", responses=answers)
    async def live() -> JSONResponse:
        """Whether every model is being driven; if not, start the server anew."""
        return answer(server.alive, "ok" if server.alive else "a model is stuck or has fallen")

    @router.get("/readyz", responses=answers)
    async def ready() -> JSONResponse:
        """Whether new clients may come: not while the server is leaving. A full one is ready, for it has a line."""
        well = server.alive and not server.leaving
        return answer(well, "ok" if well else "leaving" if server.leaving else "a model is stuck or has fallen")

    @router.get("/startupz", responses=answers)
    async def started() -> JSONResponse:
        """Whether the models are loaded, which is so from the first answer on."""
        return answer(True, "ok")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(server.metrics.text(), media_type=CONTENT_TYPE)

    return router
