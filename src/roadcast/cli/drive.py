"""`roadcast drive`."""

import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.device import checked
from roadcast.cli.folders import IN_THE_BOX, run_of, world_folder
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.serving.session import Session

BROWSER_WAIT_S = 20.0


def drive(
    world: Path | None = None,
    /,
    mock: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    steps: int | None = None,
    fps: float | None = None,
    device: str = "cpu",
    compiled: bool = False,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    weights: Literal["full", "int8", "int8_dynamic", "fp8"] = "full",
    no_browser: bool = False,
) -> None:
    """Take the wheel: serve a world as a page, and open the browser on it.

    Examples:
      roadcast drive                 the world that comes with roadcast
      roadcast drive runs/mine
      roadcast drive runs/mine --steps 2 --no-browser --host 0.0.0.0 --port 9000
      roadcast drive --mock

    Arrow keys, WASD, touch or a gamepad. One driver at a time. Ctrl-C ends it.

    Args:
        world: A run's folder, or a world's. The world that comes with roadcast when not given.
        mock: A drawn road instead of a trained world: try the page, or judge a connection, without a model.
        host: Address to serve on; 0.0.0.0 lets other machines in.
        port: Port to serve on; 0 takes a free one.
        steps: Network passes a frame; fewer are faster. The world's own number when not given.
        fps: Frames a second to drive at, instead of the world's own.
        device: Where to compute: cpu, cuda, cuda:1.
        compiled: Let torch.compile write code for the networks: a minute or more of waiting, then about twice the frames.
        precision: Number format of the networks; auto is float32 (bfloat16 on a CPU with AMX), and measured on a GPU.
        weights: Full, or rounded to eight bits, which takes less memory and on large worlds less time.
        no_browser: Only print the address.
    """
    if mock and world is not None:
        raise UserError(f"{world}: give a world or --mock, not both")
    folder = None if mock else world_folder(world or IN_THE_BOX)
    try:
        from roadcast.web.app import serve
    except ImportError as error:
        raise UserError(
            f"driving in the browser needs {error.name}; install it with: pip install 'roadcast[serve]'"
        ) from None

    if port == 0:
        port = free_port(host)
    if not no_browser:
        threading.Thread(target=open_browser, args=(host, port), daemon=True).start()
    title = "mock" if folder is None else (run_of(folder) or folder).resolve().name
    serve(
        lambda: open_session(folder, steps, checked(device), compiled, precision, weights),
        host,
        port,
        title=title,
        fps=fps,
    )


def open_session(
    folder: Path | None, steps: int | None, device: str, compiled: bool, precision: str, weights: str
) -> "Session":
    """The session of a world, or the mock's when there is no folder."""
    if folder is None:
        from roadcast.serving.mock import MockSession

        return MockSession()
    from roadcast.serving.session import ModelSession

    return ModelSession.open(folder, steps, device, compiled, precision, weights)


def open_browser(host: str, port: int) -> None:
    """Show the page in the browser as soon as it answers; where there is no browser, the printed address must do."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url, until = f"http://{shown}:{port}/", time.monotonic() + BROWSER_WAIT_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}livez", timeout=1).close()
        except OSError:
            time.sleep(0.1)
            continue
        webbrowser.open(url)
        return


def free_port(host: str) -> int:
    """A port that nobody listens on at the moment."""
    import socket

    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            return listener.getsockname()[1]
    except OSError as error:
        raise UserError(f"cannot serve on {host}: {error}; choose another with --host") from None
