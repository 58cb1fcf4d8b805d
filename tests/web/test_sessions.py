"""Many sessions over one server: opened, lost, resumed, branched, rewound, carried to another server, and told apart by token."""

import hashlib
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from roadcast.serving.mock import MockBackend
from roadcast.serving.seat import Limits
from roadcast.web.app import create_app
from roadcast.web.auth import Tokens
from roadcast.web.messages import (
    AskLog,
    Branch,
    Close,
    Controls,
    Create,
    Credit,
    Keep,
    Pause,
    Reset,
    Restore,
    Resume,
    Rewind,
    dump,
    parse_reply,
)
from roadcast.web.protocol import Frame
from roadcast.web.server import Server
from roadcast.web.settings import Settings

TOKEN, OTHER = "a-token-of-sixteen-or-more", "another-token-of-sixteen"
DRIVE = [[5, 0.25, 1.0, 0.0], [4, -0.5, 1.0, 0.0]]


def server(slots: int = 3, tokens: dict[str, str] | None = None, **settings) -> Server:
    return Server(
        {"toyroad": lambda: MockBackend(slots, 32, 64, fps=100.0)}, Settings(**settings), Tokens(tokens or {})
    )


@pytest.fixture
def app():
    return create_app(server())


@pytest.fixture
def client(app):
    with TestClient(app) as client:
        yield client


def tell(ws, *messages) -> None:
    for message in messages:
        ws.send_text(dump(message))


def reply(ws, *messages):
    """The server's next words; frames on the way are dropped."""
    tell(ws, *messages)
    while (message := ws.receive()).get("text") is None:
        assert message["type"] == "websocket.send", message
    return parse_reply(message["text"])


def frame(ws, *messages) -> Frame:
    tell(ws, *messages, Credit(1))
    return Frame.unpack(ws.receive_bytes())


def first(ws, *messages) -> Frame:
    """The next frame that no action has made."""
    tell(ws, *messages)
    while not (seen := frame(ws)).first:
        pass
    return seen


def still(ws, create: Create):
    """A session that is paused at its first frame, and that frame."""
    opened = reply(ws, Pause(True), create)
    return opened, frame(ws)


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def digest(seen: Frame) -> str:
    return hashlib.sha256(seen.picture).hexdigest()


def is_open(client) -> int:
    return client.get("/v1/models").json()[0]["open"]


def test_a_log_leads_to_the_same_frame_anywhere(client):
    with client.websocket_connect("/drive") as ws, TestClient(create_app(server())) as elsewhere:
        _, seen = still(ws, Create(scene=1, seed=3, log=DRIVE))
        assert seen.first and (seen.step, seen.seed, seen.scene) == (9, 3, 1)
        told = reply(ws, AskLog())
        assert (told.model, told.version, told.scene, told.seed, told.log) == ("toyroad", "mock", 1, 3, DRIVE)
        with elsewhere.websocket_connect("/drive") as there:
            _, again = still(there, Create(told.model, told.scene, told.seed, told.clip, told.log))
        assert digest(again) == digest(seen) and again.model_version == "mock"


def test_frames_tell_the_log_of_what_was_driven(client):
    with client.websocket_connect("/drive") as ws:
        reply(ws, Create())
        commands, past, newest = {0: (0.0, 0.0, 0.0)}, [], None
        for id in range(1, 8):
            commands[id] = (round(0.1 * id, 4), 0.5, 0.0)
            tell(ws, Controls(id, *commands[id]))
            time.sleep(0.02)  # steps go by that nobody sees
            newest = frame(ws)
            past += [commands[id] for id in newest.action_ids]
            assert len(past) == newest.step
        tell(ws, Pause(True))
        told = reply(ws, AskLog())
        lived = [tuple(row[1:]) for row in told.log for _ in range(row[0])]
        assert lived[: len(past)] == past


def test_a_shown_log_comes_frame_by_frame(client):
    with client.websocket_connect("/drive") as ws:
        reply(ws, Create(log=DRIVE, show=True))
        seen = [frame(ws)]
        while seen[-1].step < 9:
            seen.append(frame(ws))
        assert seen[0].first and all(one.replayed and one.action_id == 0 for one in seen[1:])


def test_a_lost_connection_is_resumed_where_it_was(client, app):
    with client.websocket_connect("/drive") as ws:
        opened, seen = still(ws, Create(log=DRIVE))
        ws.close(1006)
    until(lambda: all(wheel.driver is None for wheel in app.state.server.models["toyroad"].sessions))
    with client.websocket_connect("/drive") as ws:
        assert reply(ws, Pause(True), Resume(opened.session)).session == opened.session
        assert digest(frame(ws)) == digest(seen)
        with client.websocket_connect("/drive") as thief:
            assert reply(thief, Resume(opened.session)).code == "unknown"
            assert reply(thief, Resume("never")).code == "unknown"
        tell(ws, Close())
    until(lambda: is_open(client) == 0)


def test_a_branch_is_a_second_future_of_the_same_moment(client):
    with client.websocket_connect("/drive") as ws, client.websocket_connect("/drive") as other:
        opened, seen = still(ws, Create(log=DRIVE))
        branched = reply(ws, Branch())
        assert branched.step == 9 and branched.session != opened.session
        assert reply(other, Pause(True), Resume(branched.session)).step == 9
        assert digest(frame(other)) == digest(seen)
        tell(ws, Controls(1, steer=1.0, throttle=1.0), Pause(False))
        tell(other, Controls(1, steer=-1.0, throttle=1.0), Pause(False))
        time.sleep(0.3)
        assert digest(frame(ws)) != digest(frame(other))


def test_moments_are_gone_back_to(client):
    with client.websocket_connect("/drive") as ws:
        _, seen = still(ws, Create(log=DRIVE))
        kept = reply(ws, Keep())
        assert kept.step == 9
        begin = first(ws, Rewind(0))
        assert (begin.step, begin.frame_id > seen.frame_id) == (0, True)
        again = first(ws, Restore(kept.snapshot))
        assert (again.step, digest(again)) == (9, digest(seen))
        middle = first(ws, Rewind(5))
        assert middle.step == 5 and reply(ws, AskLog()).log == DRIVE[:1]
        assert reply(ws, Rewind(6)).code == "bad_message"
        assert reply(ws, Restore("never")).code == "unknown"
        assert digest(first(ws, Reset(scene=1))) != digest(begin)
        assert reply(ws, AskLog()).log == []


def test_the_line_moves_up_and_is_not_endless():
    with TestClient(create_app(server(slots=1, queue=1))) as client:
        with client.websocket_connect("/drive") as second:
            with client.websocket_connect("/drive") as ws:
                reply(ws, Create())
                assert reply(second, Create()).position == 1
                with client.websocket_connect("/drive") as third:
                    told = reply(third, Create())
                    assert (told.code, told.retry_after_s) == ("full", 4.0)
                    with pytest.raises(WebSocketDisconnect) as refused:
                        third.receive_text()
                    assert refused.value.code == 1013
            assert reply(second).scene == 0  # the first has left
            assert frame(second).first


def test_a_session_lost_for_good_or_idle_gives_its_seat_back():
    with TestClient(create_app(server(slots=2, linger_s=0.2, limits=Limits(idle_s=1.0)))) as client:
        with client.websocket_connect("/drive") as ws:
            reply(ws, Create())
            ws.close(1006)
        with client.websocket_connect("/drive") as ws:
            reply(ws, Create(), Pause(True))
            assert reply(ws).code == "expired"
            with pytest.raises(WebSocketDisconnect) as ended:
                ws.receive_text()
            assert ended.value.code == 4408
        until(lambda: is_open(client) == 0)
        text = client.get("/metrics").text
        assert 'roadcast_sessions_total{end="lost"} 1.0' in text and 'roadcast_sessions_total{end="idle"} 1.0' in text


def test_drivers_are_told_how_to_go_on_when_the_server_leaves(client, app):
    with client.websocket_connect("/drive") as ws:
        still(ws, Create(seed=5, log=DRIVE))
        client.portal.call(app.state.server.drain)
        told = reply(ws)
        assert (type(told).__name__, told.seed, told.log) == ("Migrate", 5, DRIVE)
        with pytest.raises(WebSocketDisconnect) as ended:
            ws.receive_text()
        assert ended.value.code == 1012
    assert client.get("/readyz").status_code == 503 and client.get("/livez").status_code == 200
    with client.websocket_connect("/drive") as ws, pytest.raises(WebSocketDisconnect) as refused:
        ws.receive_text()
    assert refused.value.code == 1013


def test_tokens_open_both_doors_and_keep_sessions_apart():
    with TestClient(create_app(server(tokens={"ann": TOKEN, "bob": OTHER}, sessions=1))) as client:
        ann, bob = ({"authorization": f"Bearer {token}"} for token in (TOKEN, OTHER))
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/v1/models", headers=ann).status_code == 200
        with client.websocket_connect("/drive") as ws, pytest.raises(WebSocketDisconnect) as refused:
            ws.receive_text()
        assert refused.value.code == 1008
        with client.websocket_connect("/drive", subprotocols=["roadcast.v2", f"bearer.{TOKEN}"]) as ws:
            assert ws.accepted_subprotocol == "roadcast.v2"
            opened = reply(ws, Create())
            assert reply(ws, Branch()).code == "limit"
            with client.websocket_connect("/drive", headers=ann) as second:
                assert reply(second, Create()).code == "limit"
            ws.close(1006)
        with client.websocket_connect("/drive", headers=bob) as ws:
            assert reply(ws, Resume(opened.session)).code == "unknown"
