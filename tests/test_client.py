"""The Python client against real servers on loopback."""

import hashlib
from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from listening import listening
from roadcast.client import Moved, Refused, connect, models
from roadcast.serving.mock import MockBackend
from roadcast.web.app import create_app
from roadcast.web.messages import Create
from roadcast.web.server import Server
from roadcast.web.settings import Settings


@contextmanager
def served():
    """A server in a thread: its address, and what ends it."""
    app = create_app(Server({"toyroad": lambda: MockBackend(3, 32, 64, fps=50.0)}, Settings()))
    with listening(app, log_level="warning", timeout_graceful_shutdown=1) as (address, end):
        yield address, end


@pytest.fixture(scope="module")
def address():
    with served() as (address, _):
        yield address


def digest(frame) -> str:
    return hashlib.sha256(frame.picture).hexdigest()


def test_a_world_is_driven(address):
    assert models(address)[0]["name"] == "toyroad"
    with connect(address, Create(scene=1, seed=2)) as drive:
        assert (drive.opened.model, drive.opened.scene, drive.opened.fps) == ("toyroad", 1, 50.0)
        seen = drive.step(steer=0.3, throttle=1.0)
        assert seen.action_id == 1 and (seen.seed, seen.scene) == (2, 1)
        kept = drive.snapshot()
        drive.step(steer=-0.3)
        back = drive.restore(kept)
        assert back.first and seen.step <= back.step
        assert drive.rewind(1).step == 1
        assert drive.reset(seed=7).seed == 7


def test_a_branch_is_resumed_by_its_id(address):
    with connect(address) as drive:
        drive.step(throttle=1.0)
        with connect(address, resume=drive.branch()) as other:
            assert other.step(steer=0.5, throttle=1.0).step > 0
    with pytest.raises(Refused, match="no such session"):
        connect(address, resume="never").__enter__()


def test_another_server_goes_on_with_the_same_frames(address):
    with served() as (there, end):
        with connect(there, Create(seed=9)) as drive:
            for n in range(5):
                newest = drive.step(steer=0.1 * n, throttle=1.0)
            end()
            with pytest.raises(Moved) as moved:
                [drive.frame() for _ in range(10)]
    again = moved.value.again
    assert sum(int(row[0]) for row in again.log) >= newest.step
    with connect(address, again) as drive:
        on = drive.frame()
        assert on.first and on.step == sum(int(row[0]) for row in again.log)
        rewound = drive.rewind(newest.step) if newest.step < on.step else on
        assert rewound.step == newest.step and digest(rewound) == digest(newest)
