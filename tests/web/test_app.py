import json
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

import cv2
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from roadcast.errors import UserError
from roadcast.web.app import create_app, serve
from roadcast.web.conductor import action
from roadcast.web.messages import Controls, Create, Credit, Error, Opened, Pace, Pause, Reset, dump, parse_reply
from roadcast.web.protocol import Frame
from roadcast.web.server import one_seat
from roadcast.web.video import codecs


class PaintSession:
    """Paints the steering it was given as red, the pedals as green and blue, and remembers who called."""

    fps, height, width = 200.0, 16, 32
    actions = ("steer", "throttle", "brake")

    def __init__(self):
        self.scenes = ["day", "night"]
        self.opened_on = threading.current_thread()
        self.calls = []

    def paint(self, *channels):
        return np.broadcast_to(np.array(channels).clip(0, 255).astype(np.uint8), (self.height, self.width, 3)).copy()

    def reset(self, scene=0, seed=0):
        assert threading.current_thread() is self.opened_on
        self.calls.append(("reset", scene, seed))
        return self.paint(0, 0, 200 * scene)

    def step(self, action):
        assert threading.current_thread() is self.opened_on
        self.calls.append(("step", action))
        if action["throttle"] == 1:
            raise RuntimeError("engine on fire")
        if action["throttle"] == -1:
            raise UserError("no fuel; fill the tank")
        return self.paint(128 + 100 * action["steer"], 100, 50)

    def snapshot(self):
        return len(self.calls)

    def restore(self, snapshot):
        assert snapshot <= len(self.calls)


@pytest.fixture
def session():
    return PaintSession()


@pytest.fixture
def client(session):
    def open_session():
        session.opened_on = threading.current_thread()
        return session

    with TestClient(create_app(one_seat(open_session, "paint"), "paint")) as client:
        yield client


def send(ws, *messages) -> None:
    for message in messages:
        ws.send_text(dump(message))


def receive(ws, credit: int = 1) -> Frame:
    """The next frame, in exchange for so much new credit."""
    if credit:
        send(ws, Credit(credit))
    return Frame.unpack(ws.receive_bytes())


@contextmanager
def driving(client):
    """A connection with a session of its own."""
    with client.websocket_connect("/drive") as ws:
        send(ws, Create())
        assert isinstance(parse_reply(ws.receive_text()), Opened)
        yield ws


def is_open(client) -> int:
    """How many seats are taken."""
    return client.get("/v1/models").json()[0]["open"]


def steps(session) -> int:
    return sum(call[0] == "step" for call in session.calls)


def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_page_health_and_info(client):
    for probe in ("livez", "readyz", "startupz"):
        assert client.get(f"/{probe}").json() == {"status": "ok"}
    assert client.get("/info").json() == {
        "name": "paint", "protocol": 2, "fps": 200.0, "width": 32, "height": 16,
        "actions": ["steer", "throttle", "brake"], "scenes": ["day", "night"], "codecs": codecs(), "version": "",
    }  # fmt: skip
    page = client.get("/")
    assert page.status_code == 200 and "<canvas" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("drive.js", "session.js", "look.css"):
        assert client.get(f"/static/{name}").status_code == 200


def test_frames_answer_actions(client, session):
    with driving(client) as ws:
        first = receive(ws)
        assert first.first and (first.width, first.height, first.action_id) == (32, 16, 0)
        send(ws, Controls(41, steer=1.0))
        while (frame := receive(ws)).action_id < 41:
            pass
        assert not frame.first and frame.frame_id > first.frame_id and frame.ready_ns >= frame.stepped_ns
        rgb = cv2.imdecode(np.frombuffer(frame.picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert rgb.shape == (16, 32, 3)
        np.testing.assert_allclose(rgb[8, 16], (228, 100, 50), atol=6)
    assert session.calls[0] == ("reset", 0, 0)


def test_never_more_frames_than_credits(client, session):
    with driving(client) as ws:
        send(ws, Credit(2))
        for _ in range(2):
            receive(ws, credit=0)
        done = steps(session)
        until(lambda: steps(session) > done + 10)  # the world goes on
        ws.send_text("is anybody there?")
        assert "text" in ws.receive()  # the next thing to arrive is the answer to this, not a third frame
        behind = steps(session)
        assert receive(ws).frame_id > behind - 5  # and with credit again comes a fresh frame, not an old one


def test_credit_does_not_pile_up(client):
    with driving(client) as ws:
        send(ws, Pause(True), *[Credit(2)] * 10)
        assert receive(ws, credit=0).first
        send(ws, Pause(False))
        time.sleep(0.2)
        ws.send_text("mark")
        frames = 0
        while "bytes" in ws.receive():
            frames += 1
        assert 1 <= frames <= 2


def test_world_waits_for_a_client_that_is_away(client, session, monkeypatch):
    monkeypatch.setattr("roadcast.web.wheel.STALL_S", 0.05)
    with driving(client) as ws:
        receive(ws)
        receive(ws)
        time.sleep(0.3)
        done = steps(session)
        time.sleep(0.2)
        assert steps(session) == done
        receive(ws)
        receive(ws)
        assert steps(session) > done


def test_unlimited_pace_waits_for_nothing_but_the_client(session):
    session.fps = 2.0

    def open_session():
        session.opened_on = threading.current_thread()
        return session

    with TestClient(create_app(one_seat(open_session))) as client, driving(client) as ws:
        send(ws, Pace(True))
        start = time.monotonic()
        ids = [receive(ws).frame_id for _ in range(30)]
        assert time.monotonic() - start < 5  # 15 s at real time
        assert ids == list(range(1, 31))  # none is skipped
        send(ws, Pace(False))
        start = time.monotonic()
        while receive(ws).frame_id < 34:
            pass
        assert time.monotonic() - start < 4  # the haste is not paid back by waiting


def test_real_time_pace(session):
    session.fps = 50.0

    def open_session():
        session.opened_on = threading.current_thread()
        return session

    with TestClient(create_app(one_seat(open_session))) as client, driving(client) as ws:
        receive(ws)
        frames = [receive(ws) for _ in range(26)]
        seconds = (frames[-1].stepped_ns - frames[0].stepped_ns) / 1e9
        assert seconds == pytest.approx((frames[-1].frame_id - frames[0].frame_id) / 50, abs=0.1)


def test_pause_and_reset(client, session):
    with driving(client) as ws:
        receive(ws)
        send(ws, Pause(True))
        ws.send_text("mark")
        while "text" not in ws.receive():
            pass
        time.sleep(0.05)
        done = steps(session)
        time.sleep(0.1)
        assert steps(session) == done
        send(ws, Reset(scene=1, seed=9))
        frame = receive(ws, credit=2)
        frame = frame if frame.first else receive(ws, credit=1)
        assert frame.first and session.calls[-1] == ("reset", 1, 9)


def test_second_driver_is_refused_and_the_first_drives_on(client):
    with driving(client) as ws:
        receive(ws)
        assert is_open(client) == 1
        with client.websocket_connect("/drive") as second:
            send(second, Create())
            told = parse_reply(second.receive_text())
            assert (told.code, told.retry_after_s) == ("full", 2.0)
            with pytest.raises(WebSocketDisconnect) as refused:
                second.receive_bytes()
        assert (refused.value.code, refused.value.reason) == (1013, "busy: try again in 2 s")
        receive(ws)


def test_a_client_that_vanishes_frees_the_seat(client, session):
    for _ in range(3):
        with driving(client) as ws:
            assert receive(ws).first
        until(lambda: is_open(client) == 0)
    done = steps(session)
    time.sleep(0.05)
    assert steps(session) == done


def test_malformed_messages_are_answered(client):
    with driving(client) as ws:
        for bad in ("{", '{"type": "fly"}', '{"type": "action", "id": 1, "steer": 7}', '{"type": "reset", "scene": 2}'):
            ws.send_text(bad)
            answer = json.loads(ws.receive_text())
            assert answer["type"] == "error" and answer["message"]
        assert answer["message"] == "scene = 2, but there are 2; use 0 to 1"
        ws.send_bytes(b"\x00\x01")
        assert "binary" in json.loads(ws.receive_text())["message"]
        assert receive(ws).first


@pytest.mark.parametrize(
    ("throttle", "reason"), [(1.0, "the world failed; see the server's log"), (-1.0, "no fuel; fill the tank")]
)
def test_a_failing_world_ends_the_drive_and_frees_the_seat(client, throttle, reason):
    with driving(client) as ws:
        receive(ws)
        send(ws, Controls(1, throttle=throttle), Credit(2))
        while (message := ws.receive())["type"] == "websocket.send":
            if "text" in message:
                assert parse_reply(message["text"]) == Error("broken", reason)
        assert (message["code"], message["reason"]) == (1011, reason)
    with driving(client) as ws:
        assert receive(ws).first


def test_brake_becomes_negative_throttle_where_there_is_none():
    assert action((0.1, 0.25, 0.75), ("steer", "throttle")) == {"steer": 0.1, "throttle": -0.5}
    assert action((0.1, 0.25, 0.75), ("steer", "throttle", "brake")) == {"steer": 0.1, "throttle": 0.25, "brake": 0.75}


def test_page_of_another_site_may_not_drive(client):
    with client.websocket_connect("/drive", headers={"origin": "http://elsewhere.example"}) as ws:
        with pytest.raises(WebSocketDisconnect) as refused:
            ws.receive_bytes()
    assert refused.value.code == 1008


def test_what_cannot_be_served_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="choose another with --host or --port"):
            serve(PaintSession, port=taken.getsockname()[1])
    with pytest.raises(UserError, match="fps = 0"):
        one_seat(PaintSession, fps=0)
