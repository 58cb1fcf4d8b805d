"""What strangers may ask of a server: how much, how long, how often, and what they are told of what cannot be used."""

import asyncio
import contextlib
import json
import socket
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

from fastapi import HTTPException
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from roadcast.serving.mock import MockBackend
from roadcast.serving.seat import Full, Gone
from roadcast.web import clips as clips_module
from roadcast.web import conversation
from roadcast.web.app import create_app
from roadcast.web.auth import Rate, Tokens, same_site
from roadcast.web.bodies import Bodies
from roadcast.web.clips import Clips
from roadcast.web.server import Capped, Server
from roadcast.web.settings import Settings

TOKEN = "a-token-of-sixteen-or-more"
ROLLOUT = {"log": [[2, 0, 1, 0]]}


def server(**settings) -> Server:
    return Server({"toyroad": lambda: MockBackend(2, 32, 64, fps=100.0)}, Settings(**settings))


@pytest.fixture
def client():
    with TestClient(create_app(server())) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"log": [[2, NaN, 1, 0]]}', 422),
        ('{"log": [[2, 0, 1, 0]], "seed": NaN}', 422),
        ('{"log": [[2, 0, 1, 0]], "scene": 1e999}', 422),
        ('{"log": "\\ud800"}', 422),
        ('{"log": [["\\ud800", 0, 1, 0]]}', 422),
        ('{"log": [[2, 0, 1, 0]], "model": "\\ud800"}', 404),
        ("[" * 100_000, 400),
        (b"\xff\xfe", 422),
        ('{"log": ' + "9" * 5000 + "}", 400),
        ("{", 422),
        ('{"log": [' + "[1, 0, 0, 0], " * 40_000 + "[1, 0, 0, 0]]}", 422),
        (b" " * (2**20 + 1), 413),
    ],
)
def test_what_no_json_can_hold_is_refused_in_json(client, body, status):
    answer = client.post("/v1/rollouts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert 0 < len(answer.json()["detail"]) < 1000


def test_a_clip_that_is_too_large_is_refused():
    with TestClient(create_app(server(clip_bytes=10_000))) as client:
        answer = client.post("/v1/clips", content=b"x" * 10_001, headers={"content-type": "video/mp4"})
        assert answer.status_code == 413 and "more than 10000 bytes" in answer.json()["detail"]


def test_a_body_that_trickles_is_not_waited_for():
    async def body(_scope, receive, _send):
        while (await receive()).get("more_body"):
            pass

    async def ask(*parts: bytes, pause: float = 0.0):
        coming = iter(parts)

        async def receive():
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": next(coming), "more_body": True}

        await Bodies(body, lambda path: 10, seconds=0.1)({"type": "http", "path": "/"}, receive, None)

    with pytest.raises(HTTPException) as slow:
        asyncio.run(ask(*[b"x"] * 9, pause=0.03))
    with pytest.raises(HTTPException) as large:
        asyncio.run(ask(*[b"xx"] * 6))
    assert (slow.value.status_code, large.value.status_code) == (408, 413)


@pytest.mark.parametrize("origin", ["http://[", "http://evil.example", "null", "", "//"])
def test_a_page_of_nowhere_may_not_drive(client, origin):
    assert not same_site(origin, "testserver", ())
    with client.websocket_connect("/drive", headers={"origin": origin}) as ws:
        with pytest.raises(WebSocketDisconnect) as refused:
            ws.receive_text()
        assert refused.value.code == 1008


def test_a_connection_that_asks_for_nothing_is_closed(client, monkeypatch):
    monkeypatch.setattr(conversation, "FIRST_S", 0.05)
    with client.websocket_connect("/drive") as ws:
        assert json.loads(ws.receive_text())["code"] == "limit"
        with pytest.raises(WebSocketDisconnect) as ended:
            ws.receive_text()
        assert ended.value.code == 1008


def test_sessions_on_their_way_count(client):
    one = server(sessions=2)
    with one.one_more("ann"), one.one_more("ann"):
        with pytest.raises(Capped, match="2 sessions"), one.one_more("ann"):
            pass
        with one.one_more("bob"), one.one_more(""), one.one_more(""), one.one_more(""):
            pass
    with one.one_more("ann"):
        pass
    asyncio.run(one.stop())


def test_a_rollout_fails_that_would_make_more_than_may_be(client):
    with TestClient(create_app(server(job_bytes=2000))) as client:
        job = client.post("/v1/rollouts", json={"log": [[50, 0, 1, 0]], "format": "frames"}).json()
        deadline = time.monotonic() + 30
        while (job := client.get(f"/v1/jobs/{job['job']}").json())["status"] in ("waiting", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert job["status"] == "failed" and "more than 2000 bytes" in job["error"]


@pytest.fixture
def decoded(monkeypatch):
    """Clips are "decoded" at once; the list holds how many were at it together."""
    at_once, now = [], []

    async def decode(path, height, width, fps):
        now.append(path)
        at_once.append(len(now))
        await asyncio.sleep(0.01)
        now.pop()
        return np.zeros((1, height, width, 3), np.uint8)

    monkeypatch.setattr(clips_module, "decode", decode)
    return at_once


def test_one_callers_clips_do_not_push_out_anothers(decoded):
    backend, clips = MockBackend(1, 32, 64), Clips(Settings(clips=2))

    async def send():
        shared = await clips.add(b"0", "video/mp4", backend, "bob")
        return shared, [await clips.add(b"%d" % n, "video/mp4", backend, "ann") for n in range(4)]

    shared, own = asyncio.run(send())
    assert shared.id == own[0].id
    for clip in (shared, *own[2:]):
        assert clips.context(clip.id, backend).frames_FHWC is clip.frames_FHWC
    with pytest.raises(Gone):
        clips.context(own[1].id, backend)


def test_few_clips_are_decoded_and_few_come_at_once(decoded):
    backend, clips = MockBackend(1, 32, 64), Clips(Settings(uploads=3, decoders=2))

    async def send():
        await asyncio.gather(*[clips.add(b"%d" % n, "video/mp4", backend, "ann") for n in range(6)])

    asyncio.run(send())
    assert max(decoded) == 2
    with clips.coming(), clips.coming(), clips.coming():
        with pytest.raises(Full), clips.coming():
            pass
    with clips.coming():
        pass


def test_a_rate_weighs_and_forgets():
    now = 0.0
    rate = Rate(10, 20, clock=lambda: now)
    assert rate.wait_s("a", 15) == 0 and rate.wait_s("a", 10) == pytest.approx(0.5)
    assert rate.wait_s("b", 1000) == 0 and rate.wait_s("b") == pytest.approx(0.1)
    for caller in range(10_000):
        rate.wait_s(str(caller))
        now += 0.01
    assert len(rate._kept) < 5000


def test_a_connection_without_a_request_is_closed(monkeypatch):
    from listening import listening
    from roadcast.web import listen

    monkeypatch.setattr(listen, "HEADER_S", 0.3)
    with listening(create_app(server()), http=listen.Prompt, log_level="warning") as (address, _):
        for begin, whole in (
            (b"", False),
            (b"GET /livez HTTP/1.1\r\n", False),
            (b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", True),
        ):
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20) as one:
                one.sendall(begin)
                said = b""
                with contextlib.suppress(ConnectionError):
                    while part := one.recv(4096):
                        said += part
                        one.sendall(b"GET /livez")  # and not a byte more
                assert said.startswith(b"HTTP/1.1 200") == whole


def test_a_clip_is_decoded_and_begins_a_world(client, tmp_path):
    path = tmp_path / "clip.mp4"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (96, 64))
    for number in range(8):
        film.write(np.full((64, 96, 3), 20 * number, np.uint8))
    film.release()
    headers = {"content-type": "Video/MP4; codecs=mp4v"}
    answer = client.post("/v1/clips", content=path.read_bytes(), headers=headers)
    assert answer.status_code == 201 and answer.json()["frames"] > 1
    assert client.post("/v1/rollouts", json=ROLLOUT | {"clip": answer.json()["clip"]}).status_code == 202


def test_the_document_asks_for_a_token_where_one_is_needed():
    tokens = Tokens({"ann": TOKEN})
    app = create_app(Server({"toyroad": lambda: MockBackend(1, 32, 64)}, tokens=tokens))
    with TestClient(app) as client:
        call = client.get("/openapi.json").json()["paths"]["/v1/models"]["get"]
        assert call["security"] == [{"HTTPBearer": []}]


def test_a_connection_too_many_is_told_to_come_again():
    with TestClient(create_app(server(connections=1))) as client, client.websocket_connect("/drive"):
        with client.websocket_connect("/drive") as ws:
            with pytest.raises(WebSocketDisconnect) as refused:
                ws.receive_text()
            assert refused.value.code == 1013


def test_the_document_tells_what_a_row_of_a_log_may_hold(client):
    log = client.get("/openapi.json").json()["components"]["schemas"]["Rollout"]["properties"]["log"]
    row = log["items"]
    assert (log["minItems"], row["minItems"], row["maxItems"]) == (1, 4, 4) and "steer is positive left" in log[
        "description"
    ]
    assert row["prefixItems"][:2] == [
        {"type": "integer", "minimum": 1, "maximum": 36_000},
        {"type": "number", "minimum": -1, "maximum": 1},
    ]
