"""What strangers can do to a server: calls by its own OpenAPI document, messages of every kind of wrong, and damaged clips.

    python benchmarks/fuzz.py [--http] [--websocket] [--clips] [--quick] [--seed 0]     all three where none is named

The server drives small mock worlds in a process of its own, and asks for a token; its log is read in the end.

--http        5,000 calls by Schemathesis (fuzz_http.py), a fifth of them without a token
--websocket   10,000 messages (fuzz_websocket.py), while a client that means well drives all along
--clips       10,000 mutants of a clip (fuzz_clips.py), each decoded as the server does it; every 50th is sent to the server

--cases, --messages and --mutants take other numbers. The last line is one JSON object; all that should be 0 is told before it:

http_cases, http_5xx, http_faults      calls, answers that blame the server, and answers that its document does not foresee
ws_messages, ws_hung, ws_broken        messages, connections neither answered nor closed within 5 s, and closed with 1011
ws_leaked                              sessions left open
ws_gap_s, ws_gap_cpu_s                 the longest wait of the client that means well for a frame, and what of it the server worked
clip_mutants, clip_taken, host_crashes, slowest_clip_s     of the process that decodes a crash is expected, of its host none
log_faults                             exceptions that nobody caught
Exit code 1 where anything is wrong.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "a-token-for-fuzzing-only"
FULL = {"http": 5000, "websocket": 10_000, "clips": 10_000}
QUICK = {"http": 200, "websocket": 500, "clips": 100}
MUST_BE_ZERO = ("http_5xx", "http_faults", "ws_hung", "ws_broken", "ws_leaked", "host_crashes", "log_faults")
SLOWEST_CLIP_S = 11.0
"""Ten seconds, and one to be killed in."""


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def faults(self) -> list[str]:
        """What its log has of exceptions that nobody caught: the last line of each traceback."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        tracebacks = [line["traceback"] for line in lines if "traceback" in line]
        return [
            text.strip().splitlines()[-1] for text in tracebacks if "UnicodeDecodeError" not in text
        ]  # uvicorn tells of those


@contextmanager
def served() -> Iterator[Served]:
    """A server of mock worlds for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="roadcast-fuzz-") as folder:
        log = Path(folder) / "log"
        with open(log, "w") as errors:
            command = [sys.executable, __file__, "--serve"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            if not (line := process.stdout.readline()):
                sys.exit(f"the server did not start: {log.read_text()[-1000:]}")
            yield Served(line.split()[-1].rstrip("/"), process, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def serve() -> None:
    """The inside of that process: caps that fuzzing would only run into are lifted, those that bound its cost are tight."""
    from roadcast.optional import has_extra
    from roadcast.serving.mock import MockBackend
    from roadcast.web.app import create_app
    from roadcast.web.auth import Tokens
    from roadcast.web.listen import listen
    from roadcast.web.logs import log_as_json
    from roadcast.web.server import Server
    from roadcast.web.settings import Settings

    log_as_json()
    settings = Settings(
        posts_per_minute=10**9, sessions=10**9, jobs=2, job_bytes=2**16, linger_s=0.5, webrtc=has_extra("webrtc")
    )
    backend = {"toyroad": lambda: MockBackend(8, 32, 64, fps=20.0)}
    listen(create_app(Server(backend, settings, Tokens({"fuzz": TOKEN})), "fuzz"), "127.0.0.1", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for part in FULL:
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a small number of each, under a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--messages", type=int)
    parser.add_argument("--mutants", type=int)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    parts = [part for part in FULL if getattr(given, part)] or list(FULL)
    size = (QUICK if given.quick else FULL) | {
        part: number
        for part, number in zip(FULL, (given.cases, given.messages, given.mutants), strict=True)
        if number is not None
    }
    figures: dict[str, float] = {}
    with served() as server:
        if "clips" in parts:  # first: it forks, and no thread may be running yet
            from fuzz_clips import fuzz_clips

            figures |= fuzz_clips(server.url, TOKEN, size["clips"], given.seed)
        if "http" in parts:
            from fuzz_http import fuzz_http

            figures |= fuzz_http(server.url, TOKEN, size["http"], given.seed)
        if "websocket" in parts:
            from fuzz_websocket import fuzz_websocket

            figures |= fuzz_websocket(server.url, TOKEN, size["websocket"], given.seed, server.process.pid)
        faults = server.faults()
        figures["log_faults"] = len(faults) + (not server.alive)
    for fault in faults:
        print(f"log: {fault}")
    wrong = {name: figures[name] for name in MUST_BE_ZERO if figures.get(name)}
    if figures.get("slowest_clip_s", 0.0) > SLOWEST_CLIP_S:
        wrong["slowest_clip_s"] = figures["slowest_clip_s"]
    for name, value in wrong.items():
        print(f"WRONG {name} = {value}")
    print(json.dumps(figures))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
