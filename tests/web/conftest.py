"""A live server on a loopback port, and a real headless Chromium that looks at it (benchmarks/browser.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def _served(
    what: Callable, title: str = "roadcast", fps: float | None = None, seats: int = 0, port: int = 0
) -> Iterator[str]:
    """The address of a server that runs in a thread for as long as the context is open: of one session, or of a backend's `seats`."""
    from listening import listening
    from roadcast.web.app import create_app
    from roadcast.web.server import Server, one_seat

    worlds = Server({title: lambda: what(seats)}, fps=fps) if seats else one_seat(what, title, fps)
    with listening(create_app(worlds, title), port, log_level="warning") as (address, _):
        yield address + "/"


@pytest.fixture(scope="session")
def served() -> Callable:
    """The function that serves in a thread: `with served(session_factory) as address`."""
    return _served


@pytest.fixture(scope="session")
def wait_for() -> Callable:
    """The function that waits until a condition holds, and fails when it does not for too long."""
    from benchmarks.browser import wait_for

    return wait_for


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable]:
    """Opens an address in a new tab of a headless Chromium: a `benchmarks.browser.Page`; skips where there is none."""
    pytest.importorskip("websockets", reason="the browser is driven through websockets")
    from benchmarks import browser

    if browser.CHROMIUM is None:
        pytest.skip("no chromium on the path; on Debian: apt-get install chromium")
    with browser.chromium() as open_page:
        yield open_page
