"""A live server on a loopback port, and a real headless Chromium driven over its DevTools protocol."""

import base64
import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
).split()


@contextmanager
def _served(session_factory: Callable, title: str = "roadcast", fps: float | None = None) -> Iterator[str]:
    """The address of a server that runs in a thread for as long as the context is open."""
    import uvicorn

    from roadcast.web.app import create_app
    from roadcast.web.server import one_seat

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(one_seat(session_factory, title, fps), title), log_level="warning")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _wait_for(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)


def _wait_for(condition: Callable[[], object], seconds: float = 25.0) -> object:
    """The first true value of `condition`, asked again and again."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="session")
def served() -> Callable:
    """The function that serves a session in a thread: `with served(session_factory) as address`."""
    return _served


@pytest.fixture(scope="session")
def wait_for() -> Callable:
    """The function that waits until a condition holds, and fails when it does not for too long."""
    return _wait_for


class Page:
    """One browser tab: runs script, presses keys, takes pictures, and keeps the page's uncaught errors."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        call = next(self._ids)
        self._socket.send(json.dumps({"id": call, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == call:
                assert "error" not in message, message
                return message["result"]

    def script(self, expression: str) -> object:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, element: str) -> str | None:
        """The text of an element, None where there is no such element yet."""
        return self.script(f"document.getElementById('{element}')?.textContent")

    def key(self, code: str, down: bool) -> None:
        self.call("Input.dispatchKeyEvent", type="rawKeyDown" if down else "keyUp", code=code, key=code)

    def size(self, width: int, height: int, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def screenshot(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Close the tab; nothing can be asked of it afterwards."""
        self.call("Page.close")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Callable[[str], Page]]:
    """Opens an address in a new tab of a headless Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the path; on Debian: apt-get install chromium")
    connect = pytest.importorskip("websockets.sync.client", reason="the browser is driven through websockets").connect
    profile = tmp_path_factory.mktemp("chromium")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        told = profile / "DevToolsActivePort"
        port = _wait_for(lambda: told.exists() and told.read_text().split("\n")[0], 30)

        def open_page(address: str) -> Page:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=10) as answer:
                tab = json.load(answer)["webSocketDebuggerUrl"]
            page = Page(stack.enter_context(connect(tab, max_size=None, close_timeout=1)))
            page.call("Page.bringToFront")
            page.call("Page.navigate", url=address)
            return page

        yield open_page
