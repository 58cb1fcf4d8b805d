"""Servers under measurement, each in a process of its own, and what can be seen of them from outside.

    python benchmarks/serving_host.py [--fps 30] [--seats 8] [--linger 15] [--size 288 512]

serves the mock engine on a free loopback port, as `roadcast serve --mock` does, and tells under /counts what it holds.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """What a server's process holds.

    files   open file descriptors
    tasks   of its event loop
    seats   that are taken: sessions with or without a connection
    """

    resident_mb: float
    files: int
    threads: int
    tasks: int
    seats: int
    connections: int


@dataclass(frozen=True)
class Host:
    """A server's address and process."""

    url: str
    process: subprocess.Popen

    def counts(self) -> Counts:
        """What it holds now. Only this file's server tells."""
        with urllib.request.urlopen(f"{self.url}counts", timeout=30) as answer:
            told = json.load(answer)
        proc = Path(f"/proc/{self.process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        resident_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return Counts(resident_mb, len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir())), **told)

    def kill(self) -> None:
        """End it as a crash would: it has no time to say anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def hosted(command: Sequence[str]) -> Iterator[Host]:
    """A server for as long as the context is open; `command` prints its address first, as `roadcast serve` does."""
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if "http" not in line:
                process.wait(15)
                said.seek(0)
                raise RuntimeError(f"the server did not start: {' '.join(command)}\n{said.read()[-4000:]}")
            url = line.split()[-1]
            answers(f"{url}startupz")
            yield Host(url, process)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str, seconds: float = 120.0) -> None:
    """Wait until there is an answer."""
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def mock(fps: float = 30.0, seats: int = 8, linger_s: float = 15.0, size: Sequence[int] = (288, 512)) -> list[str]:
    """The command of a server of the mock engine."""
    given = {"--fps": [fps], "--seats": [seats], "--linger": [linger_s], "--size": size}
    return [sys.executable, __file__, *(str(word) for name, values in given.items() for word in (name, *values))]


def box(*options: str) -> list[str]:
    """The command of a server of the world that comes with roadcast."""
    return [sys.executable, "-m", "roadcast", "serve", "--port", "0", *options]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seats", type=int, default=8)
    parser.add_argument("--linger", type=float, default=15.0, help="seconds that a lost client's session waits for it")
    parser.add_argument("--size", nargs=2, type=int, default=(288, 512), metavar=("HEIGHT", "WIDTH"))
    given = parser.parse_args()

    from roadcast.serving.mock import MockBackend
    from roadcast.web.app import create_app
    from roadcast.web.listen import listen
    from roadcast.web.server import Server
    from roadcast.web.settings import Settings

    server = Server({"mock": lambda: MockBackend(given.seats, *given.size, given.fps)}, Settings(linger_s=given.linger))
    app = create_app(server, "mock")

    @app.get("/counts")
    async def counts() -> dict[str, int]:
        gc.collect()
        seats = sum(len(one.engine.seats) for one in server.conductors)
        return {"tasks": len(asyncio.all_tasks()), "seats": seats, "connections": len(server.connections)}

    listen(app, "127.0.0.1", 0)


if __name__ == "__main__":
    main()
