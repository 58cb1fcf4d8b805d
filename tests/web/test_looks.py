"""What a scene looks like, over HTTP."""

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

from fastapi.testclient import TestClient

from roadcast.serving.mock import MockBackend, MockSession
from roadcast.web.app import create_app
from roadcast.web.messages import Create, Credit, dump
from roadcast.web.server import Server, one_seat

HEIGHT, WIDTH = 32, 64


@pytest.fixture
def client():
    with TestClient(create_app(Server({"toyroad": lambda: MockBackend(1, HEIGHT, WIDTH)}))) as client:
        yield client


def test_a_scene_looks_like_its_last_frame(client):
    answer = client.get("/v1/models/toyroad/scenes/5.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    seen = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR_RGB)
    drawn = MockSession(HEIGHT, WIDTH).reset(scene=5)
    assert seen.shape == drawn.shape and np.abs(seen.astype(int) - drawn).mean() < 8


def test_what_is_not_there_is_refused(client):
    assert client.get("/v1/models/toyroad/scenes/6.jpg").status_code == 422
    assert client.get("/v1/models/toyroad/scenes/-1.jpg").status_code == 422
    assert client.get("/v1/models/other/scenes/0.jpg").status_code == 404


def test_a_look_takes_no_seat_from_anybody_and_is_kept(client):
    client.get("/v1/models/toyroad/scenes/0.jpg")
    with client.websocket_connect("/drive") as driver:
        for message in (Create(), Credit(1)):
            driver.send_text(dump(message))
        assert '"session"' in driver.receive_text()
        assert client.get("/v1/models/toyroad/scenes/0.jpg").status_code == 200
        taken = client.get("/v1/models/toyroad/scenes/1.jpg")
        assert taken.status_code == 429 and int(taken.headers["retry-after"]) > 0


def test_a_server_whose_one_seat_is_taken_for_good_says_when_to_ask_again():
    with TestClient(create_app(one_seat(lambda: MockSession(HEIGHT, WIDTH)))) as client:
        with client.websocket_connect("/drive") as ws:
            ws.send_text(dump(Create()))
            ws.receive_text()
            answer = client.get("/v1/models/roadcast/scenes/0.jpg")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
