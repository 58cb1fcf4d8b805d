import io
import time
import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

from fastapi.testclient import TestClient

from roadcast.serving.mock import MockBackend
from roadcast.web.app import create_app
from roadcast.web.auth import Tokens
from roadcast.web.server import Server
from roadcast.web.settings import Settings

TOKEN, OTHER = "a-token-of-sixteen-or-more", "another-token-of-sixteen"
ROLLOUT = {"scene": 1, "seed": 3, "log": [[5, 0.25, 1, 0], [4, -0.5, 1, 0]]}


def server(tokens: dict[str, str] | None = None, **settings) -> Server:
    return Server({"toyroad": lambda: MockBackend(2, 32, 64, fps=100.0)}, Settings(**settings), Tokens(tokens or {}))


@pytest.fixture
def client():
    with TestClient(create_app(server())) as client:
        yield client


def finished(client, answer, **options) -> dict:
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + 30
    while (job := client.get(answer.headers["location"], **options).json())["status"] in ("waiting", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def test_models_are_told(client):
    (model,) = client.get("/v1/models").json()
    assert (model["name"], model["version"], model["seats"], model["open"]) == ("toyroad", "mock", 2, 0)
    assert model["actions"] == ["steer", "throttle", "brake"] and "clear" in model["scenes"][0]


def test_a_rollout_becomes_pictures_and_a_film(client, tmp_path):
    job = finished(client, client.post("/v1/rollouts", json=ROLLOUT | {"format": "frames"}))
    assert (job["status"], job["made"], job["frames"], job["error"]) == ("done", 10, 10, "")
    archive = zipfile.ZipFile(io.BytesIO(client.get(job["result"]).content))
    pictures = [
        cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR) for name in archive.namelist()
    ]
    assert len(pictures) == 10 and pictures[0].shape == (32, 64, 3) and (pictures[0] != pictures[-1]).any()

    job = finished(client, client.post("/v1/rollouts", json=ROLLOUT))
    answer = client.get(job["result"])
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "film.mp4").write_bytes(answer.content)
    film = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    frames = 0
    while film.read()[0]:
        frames += 1
    assert frames == 10
    assert client.delete(f"/v1/jobs/{job['job']}").status_code == 204
    assert client.get(job["result"]).status_code == client.get(f"/v1/jobs/{job['job']}").status_code == 404
    assert client.get("/v1/models").json()[0]["open"] == 0


def test_a_rollout_under_way_is_cancelled(client):
    answer = client.post("/v1/rollouts", json={"log": [[36_000, 0, 1, 0]]})
    job = answer.json()["job"]
    assert client.get(f"/v1/jobs/{job}/result").status_code == 409
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    deadline = time.monotonic() + 20
    while client.get("/v1/models").json()[0]["open"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"log": []}, {"log": [[1, 2, 0, 0]]}, {"log": [[0, 0, 0, 0]]}, {"log": "straight on"}, {"log": [[1, 0, 0]]},
        {"log": [[36_001, 0, 0, 0]]}, ROLLOUT | {"scene": 99}, ROLLOUT | {"seed": -1}, ROLLOUT | {"format": "gif"},
    ],
)  # fmt: skip
def test_a_rollout_that_cannot_be_is_refused(client, wrong):
    assert client.post("/v1/rollouts", json=wrong).status_code == 422


def test_what_is_not_there_is_not_found(client):
    assert client.post("/v1/rollouts", json=ROLLOUT | {"model": "none"}).status_code == 404
    assert client.post("/v1/rollouts", json=ROLLOUT | {"clip": "none"}).status_code == 404
    assert client.get("/v1/jobs/none").status_code == client.delete("/v1/jobs/none").status_code == 404


def test_jobs_are_their_callers_own_and_calls_are_counted():
    with TestClient(create_app(server({"ann": TOKEN, "bob": OTHER}, posts_per_minute=2))) as client:
        ann, bob = ({"authorization": f"Bearer {token}"} for token in (TOKEN, OTHER))
        assert client.post("/v1/rollouts", json=ROLLOUT).status_code == 401
        job = finished(client, client.post("/v1/rollouts", json=ROLLOUT, headers=ann), headers=ann)
        assert client.get(job["result"], headers=bob).status_code == 404
        client.post("/v1/rollouts", json=ROLLOUT, headers=ann)
        answer = client.post("/v1/rollouts", json=ROLLOUT, headers=ann)
        assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60


def test_the_openapi_document_names_every_call(client):
    document = client.get("/openapi.json").json()
    calls = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert calls >= {
        ("/v1/models", "get"), ("/v1/clips", "post"), ("/v1/rollouts", "post"), ("/v1/jobs/{job}", "get"),
        ("/v1/jobs/{job}", "delete"), ("/v1/jobs/{job}/result", "get"), ("/livez", "get"), ("/readyz", "get"),
        ("/startupz", "get"), ("/metrics", "get"),
    }  # fmt: skip


def test_metrics_have_the_names_that_dashboards_ask_for(client):
    finished(client, client.post("/v1/rollouts", json=ROLLOUT))
    text = client.get("/metrics").text
    for name in (
        "sessions_open 0.0", 'sessions_total{end="done"} 1.0', "first_frame_seconds_count", "step_seconds_count", "queue_length 0.0",
        "action_to_frame_seconds_count", "frame_gap_seconds_count", "frames_dropped_total", 'memory_bytes{kind="resident"}',
        "out_of_distribution_total", "rollbacks_total", 'info{model="toyroad",version="mock"} 1.0',
    ):  # fmt: skip
        assert f"roadcast_{name}" in text
