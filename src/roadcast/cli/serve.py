"""`roadcast serve`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.device import checked
from roadcast.cli.folders import IN_THE_BOX, run_of, world_folder
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.serving.backend import Backend


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
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    weights: Literal["full", "int8", "int8_dynamic", "fp8"] = "full",
) -> None:
    """Serve a world to many drivers at once: the page, the WebSocket, rollouts over HTTP, health and metrics.

    Examples:
      roadcast serve runs/mine --seats 8 --tokens tokens.txt --host 0.0.0.0
      roadcast serve --mock --seats 16

    Logs are one JSON object a line, on standard error. On SIGTERM or Ctrl-C every driver is given what it needs to go on
    at another server; see docs/serving.md.

    Args:
        world: A run's folder, or a world's. The world that comes with roadcast when not given.
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
        precision: Number format of the networks; auto takes the fastest, by measuring this machine.
        weights: Full, or rounded to eight bits, which takes less memory and on large worlds less time.
    """
    if mock and world is not None:
        raise UserError(f"{world}: give a world or --mock, not both")
    for name, value, least in (("seats", seats, 1), ("queue", queue, 0)):
        if value < least:
            raise UserError(f"--{name} {value}: give at least {least}")
    folder = None if mock else world_folder(world or IN_THE_BOX)
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
    name = "mock" if folder is None else (run_of(folder) or folder).resolve().name
    settings = replace(Settings(), queue=queue, origins=origins)
    server = Server(
        {name: lambda: open_backend(folder, seats, steps, checked(device), precision, weights)}, settings, known, fps
    )
    listen(create_app(server, name), host, port)


def open_backend(
    folder: Path | None, seats: int, steps: int | None, device: str, precision: str, weights: str
) -> "Backend":
    """A world with so many seats, or the mock's when there is no folder."""
    if folder is None:
        from roadcast.serving.mock import MockBackend

        return MockBackend(seats)
    from roadcast.flow.world import World
    from roadcast.serving.pool import ModelBackend
    from roadcast.serving.session import in_precision
    from roadcast.training.scenes import load_scenes

    world, scenes = in_precision(World.load(folder, device), precision, weights), load_scenes(folder)
    return ModelBackend(world, scenes, seats, steps, version_of(folder))


def version_of(folder: Path) -> str:
    """The beginning of the SHA-256 of a world's weights: what tells one version from another."""
    import hashlib

    with (folder / "weights.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
