"""HTTP under /v1: which models there are, clips, and rollouts as jobs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field, WithJsonSchema, field_validator

from roadcast.optional import load_extra
from roadcast.serving.seat import Full
from roadcast.web.auth import bearer
from roadcast.web.clips import SUFFIXES
from roadcast.web.jobs import Form, Job, Status
from roadcast.web.looks import Looks
from roadcast.web.messages import ROW_LIMITS, Create, Row, checked_log
from roadcast.web.protocol import MAX_ID, MAX_LOG_STEPS
from roadcast.web.server import Server
from roadcast.web.versions import Role, Versions

LOG = {
    "description": "rows of [times, steer, throttle, brake]: so many steps under one command; steer is positive left",
    "type": "array", "minItems": 1, "maxItems": MAX_LOG_STEPS,
    "items": {
        "type": "array", "minItems": len(ROW_LIMITS), "maxItems": len(ROW_LIMITS),
        "prefixItems": [
            {"type": "number" if column else "integer", "minimum": low, "maximum": high}
            for column, (low, high) in enumerate(ROW_LIMITS)
        ],
    },
}  # fmt: skip
CLIPS = "/v1/clips"
MEDIA = {"mp4": "video/mp4", "frames": "application/zip"}


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class VersionSeen(BaseModel):
    """A version that is loaded: what it is for, and how many drive on it."""

    version: str
    role: Role
    open: int


class Model(BaseModel):
    """A model that can be driven: as its stable version is, and which others are loaded."""

    name: str
    version: str
    fps: float
    width: int
    height: int
    actions: list[str]
    scenes: list[str]
    seats: int
    open: int
    versions: list[VersionSeen]

    @classmethod
    def of(cls, versions: Versions) -> "Model":
        stable, backend = versions.stable, versions.stable.backend
        seen = [
            VersionSeen(version=one.backend.version, role=role, open=len(one.wheels))
            for one, role in ((versions.conductors[number], role) for number, role in versions.roles().items())
        ]
        return cls(
            name=versions.name, version=backend.version, fps=stable.fps, width=backend.width, height=backend.height,
            actions=list(backend.actions), scenes=list(backend.scenes), seats=backend.slots,
            open=len(versions.sessions), versions=seen,
        )  # fmt: skip


class ClipSent(BaseModel):
    """A clip that a world can begin with, and how many of its frames count."""

    clip: str
    frames: int


class Rollout(BaseModel):
    """What to drive: a scene or a clip, a seed, and the commands of every step."""

    model: str = ""
    scene: int = Field(0, ge=0, le=2**16 - 1)
    seed: int = Field(0, ge=0, le=MAX_ID)
    clip: str = Field("", max_length=64)
    log: Annotated[list[list[float]], WithJsonSchema(LOG)] = Field(min_length=1, max_length=MAX_LOG_STEPS)
    format: Form = "mp4"

    @field_validator("log", mode="before")
    @classmethod
    def _known_commands(cls, rows: object) -> list[Row]:
        return checked_log("rollout", rows)


class Sdp(BaseModel):
    """One side's description of a WebRTC connection."""

    type: Literal["offer", "answer"]
    sdp: str = Field(max_length=2**16)


class JobSeen(BaseModel):
    """How far a rollout is: `made` of its `frames`; `result` is where to fetch it once it is done."""

    job: str
    status: Status
    made: int
    frames: int
    error: str
    result: str | None

    @classmethod
    def of(cls, job: Job) -> "JobSeen":
        result = f"/v1/jobs/{job.id}/result" if job.status == "done" else None
        return cls(job=job.id, status=job.status, made=job.made, frames=job.frames, error=job.error, result=result)


def refusals(*codes: Literal[400, 401, 404, 408, 409, 413, 422, 429]) -> dict:
    """Of the OpenAPI document: the refusals that a call may meet."""
    return {code: {"model": Problem} for code in codes}


def rest(server: Server) -> APIRouter:
    """The calls, each for the holder of a token where the server has tokens."""

    async def caller(request: Request) -> str:
        if not server.tokens:
            return ""
        if (holder := server.tokens.holder(bearer(request.headers.get("authorization")))) is None:
            raise HTTPException(401, "a token is needed that this server knows", {"WWW-Authenticate": "Bearer"})
        return holder

    async def poster(request: Request, holder: Annotated[str, Depends(caller)]) -> str:
        if (wait := server.posts.wait_s(holder or (request.client.host if request.client else ""))) > 0:
            raise Full(wait)
        return holder

    door = [Depends(HTTPBearer(auto_error=False, description="one of the server's tokens"))] if server.tokens else []
    router = APIRouter(prefix="/v1", responses=refusals(401, 422), dependencies=door)
    calls, posts = Depends(caller), Depends(poster)

    @router.get("/models")
    async def models(_: str = calls) -> list[Model]:
        """The models, the first of which is driven where none is named."""
        return [Model.of(versions) for versions in server.models.values()]

    if server.settings.webrtc:
        peers = load_extra("webrtc", "WebRTC").Peers(server)

        @router.post("/webrtc", responses=refusals(400, 408, 413, 429))
        async def answer_peer(offer: Sdp, holder: str = posts) -> Sdp:
            """Drive over WebRTC: offer one data channel, for the messages of the WebSocket, and one video track to receive."""
            return Sdp(type="answer", sdp=await peers.answer(offer.sdp, holder))

    looks, seen = Looks(), {200: {"content": {"image/jpeg": {}}}} | refusals(404, 429)

    @router.get("/models/{model}/scenes/{scene}.jpg", response_class=Response, responses=seen)
    async def see_scene(model: str, scene: Annotated[int, Path(ge=0, le=2**16 - 1)], _: str = calls) -> Response:
        """The last frame of a scene, from which a drive goes on."""
        return Response(await looks.of(server.versions(model).stable, scene), media_type="image/jpeg")

    film = {"schema": {"type": "string", "format": "binary", "maxLength": server.settings.clip_bytes}}
    body = {"requestBody": {"required": True, "content": dict.fromkeys(SUFFIXES, film)}}

    @router.post("/clips", status_code=201, responses=refusals(404, 408, 413, 429), openapi_extra=body)
    async def send_clip(request: Request, model: str = "", holder: str = posts) -> ClipSent:
        """Send a video, as the request's body, for worlds of this model to begin with. Its id goes into `clip`."""
        backend = server.versions(model).stable.backend
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        with server.clips.coming():
            clip = await server.clips.add(await request.body(), media_type, backend, holder)
        return ClipSent(clip=clip.id, frames=len(clip.frames_FHWC))

    @router.post("/rollouts", status_code=202, responses=refusals(400, 404, 408, 413, 429))
    async def start_rollout(ask: Rollout, response: Response, holder: str = posts) -> JobSeen:
        """Begin a rollout; ask the job in `Location` how far it is."""
        versions = server.versions(ask.model)
        clip = server.clips.context(ask.clip, versions.stable.backend) if ask.clip else None
        create = Create(ask.model, ask.scene, ask.seed, ask.clip, ask.log, show=True)
        job = server.jobs.start(versions, create, clip, ask.format, holder)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return JobSeen.of(job)

    @router.get("/jobs/{job}", responses=refusals(404))
    async def see_job(job: str, holder: str = calls) -> JobSeen:
        """How far a rollout is."""
        return JobSeen.of(server.jobs.get(job, holder))

    @router.delete("/jobs/{job}", status_code=204, responses=refusals(404))
    async def remove_job(job: str, holder: str = calls) -> None:
        """Cancel a rollout if it is under way, and forget what it made."""
        server.jobs.remove(server.jobs.get(job, holder))

    results = {200: {"content": {media: {} for media in MEDIA.values()}}} | refusals(404, 409)

    @router.get("/jobs/{job}/result", response_class=FileResponse, responses=results)
    async def fetch_result(job: str, holder: str = calls) -> FileResponse:
        """The film, or a .zip of the pictures as JPEG."""
        found = server.jobs.get(job, holder)
        if found.status != "done":
            raise HTTPException(409, f"the rollout is {found.status}" + (f": {found.error}" if found.error else ""))
        return FileResponse(found.path, media_type=MEDIA[found.form])

    return router
