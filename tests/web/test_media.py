"""A user's clip, decoded in a process that may be killed."""

import asyncio

import cv2
import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.web import media


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (96, 64))
    for number in range(30):
        writer.write(np.full((64, 96, 3), 8 * number, np.uint8))
    writer.release()
    return path


def decode(path, **options):
    return asyncio.run(media.decode(path, 16, 32, 10.0, **{"seconds": 60.0} | options))


def test_a_clip_comes_at_the_worlds_size_and_rate(video):
    frames_FHWC = decode(video)
    assert frames_FHWC.shape[1:] == (16, 32, 3) and 14 <= len(frames_FHWC) <= 16
    assert np.all(np.diff(frames_FHWC.mean((1, 2, 3))) > 6)


def test_what_is_no_whole_video_is_refused_by_its_name_alone(video, tmp_path):
    video.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"clip.*clip\.mp4") as refused:
        decode(video)
    assert str(tmp_path) not in str(refused.value)


def test_a_decoder_that_crashes_or_hangs_takes_nothing_with_it(video, monkeypatch):
    monkeypatch.setattr(media, "BOOT", "import os; os.abort()")
    with pytest.raises(UserError, match="made its decoder crash"):
        decode(video)
    monkeypatch.setattr(media, "BOOT", "import time; time.sleep(60)")
    with pytest.raises(UserError, match=r"not decoded in 0\.5 s"):
        decode(video, seconds=0.5)
    monkeypatch.setattr(media, "BOOT", """print('{"frames": 1000000}')""")
    with pytest.raises(UserError, match="made its decoder crash"):
        decode(video)


def test_the_decoders_process_is_told_no_secrets(video, monkeypatch):
    monkeypatch.setenv("ROADCAST_SECRET", "a-token-of-sixteen-or-more")
    monkeypatch.setattr(media, "BOOT", """import json, os; print(json.dumps({"refused": ",".join(os.environ)}))""")
    with pytest.raises(UserError) as told:
        decode(video)
    assert "PYTHONPATH" in str(told.value) and "SECRET" not in str(told.value)
