"""Workers: whatever kills, hangs or fattens one of them costs its own recording and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import roadcast
from roadcast.data.ingest import ingest
from roadcast.data.intake import workers
from roadcast.data.intake.limits import Limits
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError

SIZE = {"height": 32, "width": 64}
SOURCE = os.pathsep.join([os.path.dirname(os.path.dirname(roadcast.__file__)), os.environ.get("PYTHONPATH", "")])
FAULTY = """
import ctypes, os, signal, time
import numpy as np
from roadcast.data.intake import worker
from roadcast.data.sources import video

whole = video.read_video

def read(path, rate=None):
    for n, moment in enumerate(whole(path, rate)):
        if n == 5:
            fault(path.stem)
        yield moment

def fault(name):
    if name == "hang":
        while True: pass
    if name == "segfault":
        ctypes.string_at(0)
    if name == "abort":
        os.abort()
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "greedy":
        np.zeros(2**31, np.uint8)
    if name == "odd":
        raise KeyError("no such thing")

video.read_video = read
if LISTING_DIES:
    def recordings(self):
        os.abort()
        yield
    video.VideoSource.recordings = recordings
worker.main()
"""


@pytest.fixture
def faults(make, tmp_path, monkeypatch):
    """A folder for videos, of which workers die by the file's name."""
    monkeypatch.setattr(workers, "BOOT", FAULTY.replace("LISTING_DIES", "False"))
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


def test_what_goes_wrong_with_one_recording_is_told_and_the_others_are_kept(make, faults, tmp_path):
    for name in ("a", "abort", "b", "greedy", "hang", "killed", "odd", "segfault", "z"):
        make.write_video(faults / f"{name}.mp4", 45)
    started = time.monotonic()
    summary = ingest(faults, tmp_path / "reel", **SIZE, workers=2, limits=Limits(seconds=3.0, memory_gib=1.0))
    assert time.monotonic() - started < 30
    why = dict(summary.rejected)
    assert list(why) == ["abort", "greedy", "hang", "killed", "odd", "segfault"]
    assert "SIGABRT" in why["abort"] and "SIGSEGV" in why["segfault"]
    assert "SIGKILL, perhaps for want of memory" in why["killed"]
    assert "more than 1 GiB of memory" in why["greedy"] and "no new frame for 3 s" in why["hang"]
    assert "KeyError: 'no such thing'" in why["odd"]
    for name in why:
        (faults / f"{name}.mp4").unlink()
    ingest(faults, tmp_path / "good", **SIZE, workers=1)
    whole, good = Reel(tmp_path / "reel"), Reel(tmp_path / "good")
    assert [v.name for v in whole.videos] == [v.name for v in good.videos] == ["a-0000", "b-0000", "z-0000"]
    assert whole.verify() == [] and [v.sha256 for v in whole.videos] == [v.sha256 for v in good.videos]


def test_a_source_that_kills_its_lister_is_an_error_of_one_line(make, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "BOOT", FAULTY.replace("LISTING_DIES", "True"))
    video = make.write_video(tmp_path / "a.mp4", 45)
    with pytest.raises(UserError, match=r"a\.mp4: made its decoder crash \(signal SIGABRT"):
        ingest(video, tmp_path / "reel", **SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_fault_of_our_own_keeps_its_traceback(make, tmp_path, monkeypatch):
    boot = "from roadcast.data.intake import fit, take, worker\ntake.fit = lambda *a: 1 / 0\nworker.main()"
    monkeypatch.setattr(workers, "BOOT", boot)
    video = make.write_video(tmp_path / "a.mp4", 45)
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process.*ZeroDivisionError"):
        ingest(video, tmp_path / "reel", **SIZE)


def test_no_worker_outlives_the_ingest_however_it_ends(make, faults, tmp_path):
    make.write_video(faults / "hang.mp4", 45)
    code = (
        "import signal, sys\nfrom roadcast.data import ingest\nfrom roadcast.data.intake import workers\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background jobs are started without
        "workers.BOOT = sys.argv[1]\ningest.ingest(sys.argv[2], sys.argv[3], height=32, width=64)"
    )
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-c", code, workers.BOOT, str(faults), str(tmp_path / "reel")],
            env=os.environ | {"PYTHONPATH": SOURCE},
            stderr=subprocess.DEVNULL,
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        shard = tmp_path / "reel.partial" / "reel" / "shards" / ".00000.bin.partial"
        deadline = time.monotonic() + 30
        while not shard.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        started = [int(child) for child in children.read_text().split()]
        assert started and process.poll() is None
        process.send_signal(number)
        assert process.wait(5) != 0
        deadline = time.monotonic() + 5
        while alive(started) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(started)
        shard.unlink(missing_ok=True)


def alive(processes: list[int]) -> list[int]:
    """Those of them that run: one that has ended and waits for its parent's question does not."""
    return [p for p in processes if (s := Path(f"/proc/{p}/stat")).exists() and s.read_text().split(") ")[1][0] != "Z"]


def test_workers_start_without_torch():
    code = "import sys, roadcast.data.intake.worker; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": SOURCE}, check=True)


@pytest.mark.slow
def test_time_for_which_the_ingest_was_stopped_is_not_held_against_its_workers(make, faults, tmp_path):
    """As by Ctrl-Z and fg: stopped for longer than the limit, it goes on and rejects nothing."""
    for name in "abcd":
        make.write_video(faults / f"{name}.mp4", 700)
    code = (
        "import sys\nfrom roadcast.data import ingest\nfrom roadcast.data.intake import limits\n"
        "summary = ingest.ingest(*sys.argv[1:], height=32, width=64, workers=1, limits=limits.Limits(seconds=1.0))\n"
        "assert summary.recordings == 4, summary.rejected"
    )
    command = [sys.executable, "-c", code, str(faults), str(tmp_path / "reel")]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": SOURCE}, start_new_session=True)
    pieces, deadline = tmp_path / "reel.partial" / "pieces", time.monotonic() + 30
    while not list(pieces.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(2.5)
    assert len(list(pieces.glob("*.json"))) < 4, "stopped in the midst of it"
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait(60) == 0


@pytest.mark.parametrize("name", ["seconds", "memory_gib", "frames", "pixels"])
def test_limits_that_cannot_be_are_named(name):
    with pytest.raises(UserError, match=f"limits.{name} = 0"):
        Limits(**{name: 0})


def test_recordings_of_too_many_frames_or_pixels_are_rejected(make, tmp_path):
    video = make.write_video(tmp_path / "a.mp4", 45)
    with pytest.raises(UserError, match="more than 44 frames"):
        ingest(video, tmp_path / "reel", **SIZE, limits=Limits(frames=44))
    with pytest.raises(UserError, match=r"48x64.*more than 3071 pixels"):
        ingest(video, tmp_path / "reel", **SIZE, limits=Limits(pixels=48 * 64 - 1))
    assert ingest(video, tmp_path / "reel", **SIZE, limits=Limits(frames=45, pixels=48 * 64)).frames == 45
