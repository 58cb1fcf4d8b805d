"""Reels over HTTP, from a server on this machine that can be made to fail."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from roadcast.data.streaming import folder as folders
from roadcast.data.streaming.stream import Stream
from roadcast.errors import UserError

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")


class Handler(BaseHTTPRequestHandler):
    """Serves files of `root`, in ranges if it `knows_ranges`, but refuses every `refused`-th request."""

    protocol_version = "HTTP/1.1"
    root: ClassVar[Path]
    knows_ranges = True
    refused = 0
    served: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        file = self.root / self.path.lstrip("/")
        self.served.append(0)
        if self.refused and len(self.served) % self.refused == 0:
            return self.answer(503, b"")
        if not file.is_file():
            return self.answer(404, b"")
        data = file.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.knows_ranges:
            return self.answer(206, data[int(asked[1]) : int(asked[2]) + 1])
        return self.answer(200, data)

    def answer(self, status: int, data: bytes) -> None:
        self.served[-1] = len(data)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(toy_reel, tmp_path, monkeypatch) -> Iterator[tuple[type[Handler], str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(folders, "WAITS", (0.0, 0.0, 0.0))
    handler = type("Here", (Handler,), {"root": toy_reel, "served": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield handler, f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def stream(address: str | Path, workers: int = 0) -> Stream:
    return Stream(address, "train", 4, 2, ("steer",), 0, block_clips=8, window=2, lanes=2, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("refused", [0, 4])
def test_a_reel_on_a_web_server_is_read_by_ranges_and_through_refusals(server, toy_reel, workers, refused):
    handler, address = server
    handler.refused = refused
    here, there = stream(toy_reel), stream(address, workers)
    for a, b in islice(zip(here, there), 20):
        assert all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))
    assert max(handler.served) < max(shard.stat().st_size for shard in toy_reel.glob("shards/*"))


def test_what_a_web_server_has_not_or_cannot_is_told(server):
    handler, address = server
    with pytest.raises(UserError, match=f"{address}/no/reel.json: is missing"):
        stream(f"{address}/no")
    handler.knows_ranges = False
    with pytest.raises(UserError, match="as from a web server that knows no ranges"):
        next(iter(stream(address)))
