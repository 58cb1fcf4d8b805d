"""What a server logs: one JSON object a line, with the session it is about, and nothing that would let a reader of logs drive."""

import contextlib
import json
import logging
import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("websockets", reason="the client needs websockets")

from websockets.exceptions import ConnectionClosed

from listening import listening
from roadcast.client import Moved, Refused, connect
from roadcast.serving.mock import MockBackend
from roadcast.web.app import create_app
from roadcast.web.auth import Tokens
from roadcast.web.logs import JsonLines, about
from roadcast.web.server import Server

TOKEN, WRONG = "a-token-of-sixteen-or-more", "a-token-that-nobody-knows"


class Burning(MockBackend):
    """A mock that cannot go on under full throttle."""

    def step(self, actions):
        if any(action.get("throttle") == 1.0 for action in actions.values()):
            raise RuntimeError("engine on fire")
        return super().step(actions)


@pytest.fixture
def lines(monkeypatch):
    """The lines that are logged, as they would be written."""
    for name in (
        "uvicorn",
        "uvicorn.access",
        "uvicorn.error",
    ):  # which other servers of this process have set to their liking
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)

    class Kept(logging.Handler):
        def emit(self, record):
            kept.append(self.format(record))

    kept: list[str] = []
    handler, root = Kept(), logging.getLogger()
    handler.setFormatter(JsonLines())
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield kept
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def address(lines):
    server = Server({"toyroad": lambda: Burning(2, 32, 64, fps=50.0)}, tokens=Tokens({"ann": TOKEN}))
    with listening(create_app(server), log_config=None, log_level="info") as (address, _):
        yield address


def asked(address: str, token: str) -> int:
    request = urllib.request.Request(f"{address}/v1/models", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_world_that_fails_is_logged_under_its_session_and_no_secret_is(address, lines):
    with connect(address, token=TOKEN) as drive:
        session = drive.opened.session
        with contextlib.suppress(Refused, Moved):
            drive.step(throttle=1.0)
    with pytest.raises((Refused, ConnectionClosed)), connect(address, token=WRONG):
        pass
    assert (asked(address, TOKEN), asked(address, WRONG)) == (200, 401)
    told = [json.loads(line) for line in lines]
    (failed,) = [one for one in told if "engine on fire" in one["message"]]
    assert (failed["session"], failed["level"]) == (session[:8], "error")
    assert failed["traceback"].endswith("RuntimeError: engine on fire") and failed["time"].endswith("Z")
    assert any("GET /v1/models" in one["message"] for one in told)
    for secret in (TOKEN, WRONG, session):
        assert not [line for line in lines if secret in line]


def test_jobs_are_logged_by_their_beginning(lines):
    logging.getLogger("uvicorn.access").info('%s - "GET %s"', "::1", "/v1/jobs/0123456789abc-_def/result")
    assert json.loads(lines[0])["message"] == '::1 - "GET /v1/jobs/01234567/result"'


def test_a_line_is_one_line_whatever_is_in_it(lines):
    with about("0123456789abcdef"):
        logging.getLogger("roadcast").warning("a\nb\u2028\x1b[31m %s", {"level": "error"})
    logging.getLogger("roadcast").warning("nobody's")
    (first, second) = map(json.loads, lines)
    assert len(lines[0].splitlines()) == 1 and lines[0].isascii()
    assert (first["session"], first["level"], "session" in second) == ("01234567", "warning", False)
    assert (
        JsonLines().format(logging.makeLogRecord({"msg": "\ud800"})).isascii()
    )  # past pytest's own log, which cannot take it
