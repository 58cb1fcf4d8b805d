"""A headless Chromium driven over its DevTools protocol: for tests of the page, and to measure what its driver sees."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
).split()


class Page:
    """One browser tab: runs script, presses keys, takes pictures, and keeps the page's uncaught errors."""

    def __init__(self, socket: ClientConnection):
        self._socket = socket
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        call = next(self._ids)
        self._socket.send(json.dumps({"id": call, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == call:
                assert "error" not in message, message
                return message["result"]

    def script(self, expression: str):
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


def wait_for(condition: Callable[[], object], seconds: float = 25.0):
    """The first true value of `condition`, asked again and again."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@contextmanager
def chromium(flags: Sequence[str] = ()) -> Iterator[Callable[[str], Page]]:
    """What opens an address in a new tab of a browser, which lives as long as the context. Needs CHROMIUM."""
    assert CHROMIUM is not None
    with ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        told = profile / "DevToolsActivePort"
        port = wait_for(lambda: told.exists() and told.read_text().split("\n")[0], 60)

        def open_page(address: str) -> Page:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=10) as answer:
                tab = json.load(answer)["webSocketDebuggerUrl"]
            page = Page(stack.enter_context(connect(tab, max_size=None, close_timeout=1)))
            page.call("Page.bringToFront")
            page.call("Page.navigate", url=address)
            return page

        yield open_page
