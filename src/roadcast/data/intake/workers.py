"""Worker processes that can be killed one by one: what hangs, crashes or eats the memory takes nothing else with it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from roadcast.data.intake.limits import Limits

BOOT = "from roadcast.data.intake.worker import main; main()"
PATIENCE = 10
"""Times the limit of seconds that work may take in which no frames are to come."""
OVERSLEPT_S = 1.0

Request = dict[str, Any]
Answer = dict[str, Any]


class Workers:
    """Up to `most` processes, started as they are needed, until `end`; each does one request at a time."""

    def __init__(self, most: int, limits: Limits):
        self.most, self.limits = most, limits
        self._all: list[_Worker] = []

    def end(self) -> None:
        """Kill them all."""
        for worker in self._all:
            worker.end()

    def answers(
        self, requests: Iterable[Request], told: Callable[[Request, dict[str, Any]], None]
    ) -> Iterator[tuple[Request, Answer]]:
        """The answer to every request, in the order in which they come; {"died": why} where the process did not live to give one.

        `told(request, message)` hears how far each one is.
        """
        queue = iter(requests)
        while True:
            self._hand_out(queue)
            busy = {worker.link: worker for worker in self._all if worker.request is not None}
            if not busy:
                return
            for link in _wait(busy):
                worker = busy[link]
                request = worker.request
                assert request is not None
                message = worker.hear(self.limits.seconds)
                if message is None:
                    self._all.remove(worker)
                    yield request, {"died": worker.death()}
                elif "frames" in message:
                    told(request, message)
                else:
                    worker.request = None
                    yield request, message
            for worker in busy.values():
                if worker.request is not None and worker in self._all and worker.deadline <= time.monotonic():
                    self._all.remove(worker)
                    worker.end()
                    yield worker.request, {"died": worker.why_late(self.limits.seconds)}

    def _hand_out(self, queue: Iterator[Request]) -> None:
        """Give every idle worker something to do, starting workers while there is more to do than they are."""
        self._all = [worker for worker in self._all if worker.request is not None or worker.process.poll() is None]
        for worker in [worker for worker in self._all if worker.request is None]:
            if (request := next(queue, None)) is None:
                return
            worker.ask(request, self.limits.seconds)
        while len(self._all) < self.most and (request := next(queue, None)) is not None:
            self._all.append(worker := _Worker(self.limits))
            worker.ask(request, self.limits.seconds)


def _wait(busy: dict[Connection, "_Worker"]) -> list[Any]:
    """The sockets on which there is news, when there is or a deadline has passed; time for which we were stopped does not count."""
    now = time.monotonic()
    patience = max(0.0, min(worker.deadline for worker in busy.values()) - now)
    ready = wait(list(busy), patience)
    if (slept := time.monotonic() - now) > patience + OVERSLEPT_S:
        for worker in busy.values():
            worker.deadline += slept
    return ready


class _Worker:
    """One process and the socket to it."""

    def __init__(self, limits: Limits):
        ours, theirs = socket.socketpair()
        paths = [path or os.getcwd() for path in sys.path]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "OPENCV_IO_MAX_IMAGE_PIXELS": str(limits.pixels),
        }  # fmt: skip
        self.log: IO[bytes] = tempfile.TemporaryFile()
        arguments = [str(theirs.fileno()), str(os.getpid()), str(round(limits.memory_gib * 2**30))]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, *arguments],
                env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=self.log,
            )  # fmt: skip
        self.link = Connection(ours.detach())
        self.request: Request | None = None
        self.reading = False
        self.deadline = 0.0

    def ask(self, request: Request, seconds: float) -> None:
        self.request, self.reading = request, False
        self.deadline = time.monotonic() + PATIENCE * seconds
        with suppress(OSError):  # it has died: `hear` will find out
            self.link.send_bytes(json.dumps(request).encode())

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next message, None if the process is dead."""
        try:
            message = json.loads(self.link.recv_bytes())
        except (EOFError, OSError):
            return None
        self.reading = message.get("reading", False)
        self.deadline = time.monotonic() + seconds * (1 if self.reading else PATIENCE)
        return message

    def why_late(self, seconds: float) -> str:
        if self.reading:
            return f"gave no new frame for {seconds:g} s, so it was stopped; repair it, or raise limits.seconds"
        return f"could not be opened or put away in {PATIENCE * seconds:g} s, so it was stopped; repair it, or raise limits.seconds"

    def death(self) -> str:
        """Why the process, which has hung up, died."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.end()
        code = self.process.returncode
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 2000))
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        how += ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        how += f": {lines[-1]}" if lines else ""
        return f"made its decoder crash ({how}); repair it or leave it out"

    def end(self) -> None:
        self.link.close()
        self.process.kill()
        self.process.wait()
