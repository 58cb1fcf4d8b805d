"""A little of benchmarks/fuzz.py, and each fault that it has found."""

import os
import random

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("requests", reason="the server is called with requests")
pytest.importorskip("websockets", reason="the messages are sent with websockets")

from benchmarks import fuzz_clips, fuzz_websocket
from listening import listening
from roadcast.errors import UserError
from roadcast.optional import has_extra
from roadcast.serving.mock import MockBackend
from roadcast.web import media
from roadcast.web.app import create_app
from roadcast.web.auth import Tokens
from roadcast.web.server import Server
from roadcast.web.settings import Settings

TOKEN = "a-token-of-sixteen-or-more"


@pytest.fixture(scope="module")
def address():
    """A server that asks for a token."""
    settings = Settings(posts_per_minute=10**9, sessions=10**9, jobs=2, job_bytes=2**16, linger_s=0.2)
    server = Server({"toyroad": lambda: MockBackend(4, 32, 64, fps=20.0)}, settings, Tokens({"fuzz": TOKEN}))
    with listening(create_app(server), log_level="error", ws_max_size=2**20) as (address, _):
        yield address


def test_calls_are_answered_as_the_document_says(address):
    pytest.importorskip("schemathesis", reason="the calls are made by Schemathesis")
    from benchmarks.fuzz_http import fuzz_http

    told = fuzz_http(address, TOKEN, 24, 0)
    assert told["http_cases"] >= 24 and told["http_5xx"] == told["http_faults"] == 0


def test_messages_of_every_kind_are_answered_or_end_their_connection(address, caplog):
    told = fuzz_websocket.fuzz_websocket(address, TOKEN, 150, 0, os.getpid())
    assert told["ws_messages"] >= 150 and told["ws_frames"] > 0 and not told["ws_driver_lost"]
    assert told["ws_hung"] == told["ws_broken"] == told["ws_leaked"] == 0
    assert not [record for record in caplog.records if record.exc_info and "UTF-8" not in record.getMessage()]


def test_damaged_clips_are_taken_or_refused_with_a_reason(tmp_path):
    clips = fuzz_clips.small_clips(tmp_path)
    files = [file for file in fuzz_clips.foreign() if len(file[1]) < 2**20]
    mutants = fuzz_clips.mutants(clips, random.Random(0))
    files += [next(mutants) for _ in range(60)]
    taken, refused = 0, []
    for suffix, data in files:
        path = tmp_path / f"clip{suffix}"
        path.write_bytes(data)
        try:
            taken += len(media.last_frames(path, 16, 32, 10.0)) > 0
        except UserError as error:
            refused.append(str(error))
    assert taken > 5 and len(refused) > 40
    assert not [said for said in refused if "nobody foresaw" in said]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_decoder_that_is_a_copy_of_this_process_says_the_same(tmp_path):
    clips = fuzz_clips.small_clips(tmp_path)
    (tmp_path / "none.mp4").write_bytes(b"x" * 100)
    taken, refused = (fuzz_clips.decode(tmp_path / name, 60.0) for name in ("small.mp4", "none.mp4"))
    assert (taken.kind, refused.kind) == ("taken", "refused") and b"none.mp4: cannot be opened" in refused.said
    assert clips and fuzz_clips.decode(tmp_path / "small.mp4", 0.0).kind == "slow"


@pytest.mark.skipif(not has_extra("video_writer"), reason="needs the extra 'video'")
def test_a_coding_that_nobody_knows_is_refused(tmp_path):
    path = tmp_path / "clip.mov"
    path.write_bytes(fuzz_clips.small_clips(tmp_path)[".mov"].replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match="cannot be opened as a video"):
        media.last_frames(path, 16, 32, 10.0)


def test_frames_that_lie_years_apart_are_not_filled_in(tmp_path):
    path, clip = tmp_path / "clip.avi", fuzz_clips.small_clips(tmp_path)[".avi"]
    scale = clip.find(b"strh") + 8 + 20
    path.write_bytes(clip[:scale] + b"\xff\xff\xff\x7f" + clip[scale + 4 :])
    assert len(media.last_frames(path, 16, 32, 10.0)) == 1
