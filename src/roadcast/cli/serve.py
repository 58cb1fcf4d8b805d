"""`roadcast serve`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.device import checked, leave_a_core
from roadcast.cli.folders import IN_THE_BOX, run_of, world_folder
from roadcast.errors import UserError
from roadcast.optional import load_extra

if TYPE_CHECKING:
    from roadcast.serving.backend import Backend
    from roadcast.serving.manifest import Manifest
    from roadcast.serving.releases import FromRegistry

BUSY = 2.0
"""Frame times that a step may take in an examination beside those who drive."""


def serve(
    world: Path | None = None,
    /,
    mock: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    seats: int = 4,
    queue: int = 16,
    tokens: Path | None = None,
    origins: tuple[str, ...] = (),
    steps: int | None = None,
    fps: float | None = None,
    device: str = "cpu",
    compiled: bool = False,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    weights: Literal["full", "int8", "int8_dynamic", "fp8"] = "full",
    registry: str | None = None,
    canary: str = "",
    share: float = 0.05,
    slow_ms: float | None = None,
    webrtc: bool = False,
    grpc_port: int | None = None,
) -> None:
    """Serve a world to many drivers at once: the page, the WebSocket, rollouts over HTTP, health and metrics.

    Examples:
      roadcast serve runs/mine --seats 8 --tokens tokens.txt --host 0.0.0.0
      roadcast serve --mock --seats 16
      roadcast serve mine@production --registry models
      roadcast serve mine@production --registry models --canary mine@candidate --share 0.05

    From a registry the server follows an alias: where it is moved, new sessions get the new version once it has been examined and
    loaded, and live ones stay on theirs. A version that proves bad is taken out and quarantined, and the one before it, which stays
    loaded, has its place; see docs/registry.md.

    Logs are one JSON object a line, on standard error. On SIGTERM or Ctrl-C every driver is given what it needs to go on
    at another server; see docs/serving.md.

    Args:
        world: A run's folder, or a world's; with --registry, MODEL@ALIAS, or MODEL/NUMBER for that version whatever happens. The
            world that comes with roadcast when not given.
        mock: A drawn road instead of a trained world.
        host: Address to serve on; 0.0.0.0 lets other machines in.
        port: Port to serve on; 0 takes a free one.
        seats: Sessions at once; each takes memory from the start.
        queue: Clients that may wait for a seat; who comes after them is told when to come again.
        tokens: A file with a line NAME TOKEN for each who may drive. Everybody may when not given.
        origins: Pages of other sites that may drive, such as https://example.org.
        steps: Network passes a frame; fewer are faster. The world's own number when not given.
        fps: Frames a second to drive at, instead of the world's own.
        device: Where to compute: cpu, cuda, cuda:1.
        compiled: Let torch.compile write code for the networks: minutes of waiting, then more frames, whose last bits differ.
        precision: Number format of the networks; auto is float32 (bfloat16 on a CPU with AMX), and measured on a GPU.
        weights: Full, or rounded to eight bits, which takes less memory and on large worlds less time.
        registry: A folder, or mlflow:URI. Steps, precision and weights then are those that the version was pushed with.
        canary: MODEL@ALIAS of the version that a share of the new sessions is to try.
        share: Part of the new sessions that the canary gets, from 0 to 1.
        slow_ms: Time that the 99th percentile of a step may take; a version that is slower for a minute is taken out. Two frames' time
            when not given.
        webrtc: Answer WebRTC offers at /v1/webrtc too; they let a client choose where the server sends packets.
        grpc_port: Port to take gRPC calls on too, without TLS; 0 takes a free one.
    """
    if registry is None and canary:
        raise UserError(f"--canary {canary}: a canary is a version in a registry; give --registry too")
    if registry is not None and (world is None or mock or (steps, precision, weights) != (None, "auto", "full")):
        raise UserError(
            "--registry: give MODEL@ALIAS, and no --mock, --steps, --precision or --weights, which the version has itself"
        )
    if not 0 <= share <= 1:
        raise UserError(f"--share {share}: give a part, from 0 to 1")
    if mock and world is not None:
        raise UserError(f"{world}: give a world or --mock, not both")
    for name, value, least in (("seats", seats, 1), ("queue", queue, 0)):
        if value < least:
            raise UserError(f"--{name} {value}: give at least {least}")
    folder = None if mock or registry is not None else world_folder(world or IN_THE_BOX)
    try:
        from roadcast.web.app import create_app
        from roadcast.web.auth import Tokens
        from roadcast.web.listen import listen
        from roadcast.web.logs import log_as_json
        from roadcast.web.server import Server
        from roadcast.web.settings import Settings
    except ImportError as error:
        raise UserError(f"serving needs {error.name}; install it with: pip install 'roadcast[serve]'") from None

    known = None if tokens is None else Tokens.load(tokens)
    log_as_json()
    settings = replace(Settings(), queue=queue, origins=origins, slow_s=slow_ms and slow_ms / 1e3, webrtc=webrtc)
    device = checked(device)
    leave_a_core()
    if registry is not None:
        releases = open_releases(registry, str(world), seats, device, compiled, canary, share)
        name, given = releases.model, releases
    else:
        name = "mock" if folder is None else (run_of(folder) or folder).resolve().name
        given = partial(open_backend, folder, seats, steps, device, precision, weights, compiled=compiled)
    server = Server({name: given}, settings, known, fps)
    beside = [] if grpc_port is None else [load_extra("grpc_server", "--grpc-port").door(server, host, grpc_port)]
    listen(create_app(server, name, beside), host, port)


def open_releases(
    registry: str, reference: str, seats: int, device: str, compiled: bool = False, canary: str = "", share: float = 0.0
) -> "FromRegistry":
    """What aliases of a registry name, each version as it was pushed and with so many seats."""
    from roadcast.serving.examine import Limits
    from roadcast.serving.gate import Gate
    from roadcast.serving.registry import Registry
    from roadcast.serving.releases import FromRegistry

    def opened(folder: Path, manifest: "Manifest", name: str) -> "Backend":
        opening = manifest.opening
        return open_backend(folder, seats, opening.steps, device, opening.precision, opening.weights, name, compiled)

    gate = Gate(Limits(frame_times=BUSY), device)
    return FromRegistry(Registry.open(registry), reference, opened, gate, canary, share)


def open_backend(
    folder: Path | None,
    seats: int,
    steps: int | None,
    device: str,
    precision: str,
    weights: str,
    version: str = "",
    compiled: bool = False,
) -> "Backend":
    """A world with so many seats, of this version or named by its weights; the mock's when there is no folder."""
    if folder is None:
        from roadcast.serving.mock import MockBackend

        return MockBackend(seats)
    from roadcast.flow.world import World
    from roadcast.serving.pool import ModelBackend
    from roadcast.serving.session import in_precision
    from roadcast.training.scenes import load_scenes

    world, scenes = in_precision(World.load(folder, device), precision, weights), load_scenes(folder)
    backend = ModelBackend(world, scenes, seats, steps, version or version_of(folder))
    if compiled:
        backend.compile()
    return backend


def version_of(folder: Path) -> str:
    """The beginning of the SHA-256 of a world's weights: what tells one version from another."""
    import hashlib

    with (folder / "weights.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
