"""Ingest: every frame with its controls, bad input named, killed work resumed to the same bytes."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import roadcast
from roadcast.data import ingest as ingesting
from roadcast.data.ingest import ingest
from roadcast.data.intake.take import usual_gap
from roadcast.data.reel.store import Reel
from roadcast.data.sources import donkey
from roadcast.errors import UserError

SIZE = {"height": 32, "width": 64}


@contextmanager
def size_limit(size: int):
    """No file may grow beyond `size` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_frames_keep_their_own_controls_and_gaps_make_recordings(make, tmp_path):
    times = [k * 50 for k in range(60)] + [9000 + k * 50 for k in range(50)] + [20_000 + k * 50 for k in range(20)]
    tub = make.write_tub(tmp_path / "tub", times)
    summary = ingest(tub, tmp_path / "reel", **SIZE, fps=20.0)
    reel = Reel(tmp_path / "reel")
    assert [(v.name, v.frames) for v in reel.videos] == [("tub-0000", 60), ("tub-0001", 50)]
    assert summary.frames == 110 and summary.recordings == 2
    assert set(summary.dropped.values()) == {1, 20}
    for frame in (0, 59, 60, 109):
        assert make.number(reel.read(frame)) % 83 == pytest.approx(frame % 83, abs=1.0)
    np.testing.assert_allclose(reel.signals["steer"], np.maximum(-0.01 * np.arange(110), -1), atol=1e-6)
    assert reel.verify() == []
    assert summary.storage_ratio > 1


def test_the_split_goes_by_recording_of_the_source_when_there_are_three(make, tmp_path):
    (tmp_path / "tubs").mkdir()
    for n in range(4):
        make.write_tub(tmp_path / "tubs" / f"t{n}", [k * 50 + (k >= 45) * 5000 + n for k in range(90)])
    ingest(tmp_path / "tubs", tmp_path / "reel", **SIZE)
    reel = Reel(tmp_path / "reel")
    assert len(reel.videos) == 8 and {v.split for v in reel.videos} == {"train", "val", "test"}
    for n in range(4):
        assert len({v.split for v in reel.videos if v.name.startswith(f"t{n}")}) == 1


def test_the_same_call_again_does_nothing_and_another_is_refused(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", [k * 50 for k in range(50)])
    ingest(tub, tmp_path / "reel", **SIZE, split="val")
    before = make.contents(tmp_path / "reel")
    summary = ingest(tub, tmp_path / "reel", **SIZE, split="val")
    assert summary.already_done and summary.splits == {"train": 0, "val": 1, "test": 0}
    with pytest.raises(UserError, match="quality"):
        ingest(tub, tmp_path / "reel", **SIZE, split="val", quality=80)
    (tub / "images" / "0_cam_image_array_.jpg").unlink()
    with pytest.raises(UserError, match="made otherwise"):
        ingest(tub, tmp_path / "reel", **SIZE, split="val")
    assert make.contents(tmp_path / "reel") == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"crop": "left"}, "crop"),
        ({"fps": 0}, "fps"),
        ({"split": "dev"}, "split"),
        ({"quality": 0}, "quality"),
        ({"cameras": ("rear",)}, "rear"),
    ],
)
def test_options_that_cannot_be_are_named(make, tmp_path, option, message):
    tub = make.write_tub(tmp_path / "tub", [0, 50])
    with pytest.raises(UserError, match=message):
        ingest(tub, tmp_path / "reel", **SIZE, **option)
    assert [p.name for p in tmp_path.iterdir()] == ["tub"]


def test_an_empty_folder_is_answered_with_the_formats(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds nothing.*donkeycar.*\.mp4.*toyroad"):
        ingest(tmp_path / "empty", tmp_path / "reel", **SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_nothing_long_enough_is_told_with_counts(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", [k * 50 for k in range(30)])
    with pytest.raises(UserError, match=r"30 frames of recordings shorter.*lower min_seconds"):
        ingest(tub, tmp_path / "reel", **SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["tub"]


def test_bad_recordings_are_rejected_by_name_and_good_ones_kept(make, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    make.write_video(folder / "good.mp4", 60)
    (folder / "text.mp4").write_text("this is no video")
    make.write_video(folder / "steered.mp4", 60)
    (folder / "steered.csv").write_text("t,stear\n0,0\n")
    summary = ingest(folder, tmp_path / "reel", **SIZE)
    assert [v.name for v in Reel(tmp_path / "reel").videos] == ["good-0000"]
    assert [name for name, _ in summary.rejected] == ["steered", "text"]
    assert "stear" in summary.rejected[0][1] and "text.mp4" in summary.rejected[1][1]


def test_only_bad_recordings_leave_nothing(make, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.mp4").write_text("this is no video")
    with pytest.raises(UserError, match=r"none of 2 recordings.*a\.mp4"):
        ingest(folder, tmp_path / "reel", **SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["videos"]


def test_signals_that_do_not_overlap_the_video_are_refused(make, tmp_path):
    video = make.write_video(tmp_path / "drive.mp4", 60)
    (tmp_path / "other.csv").write_text("t,steer\n1700000000,0.1\n1700000003,0.2\n")
    with pytest.raises(UserError, match=r"steer covers 1700000000.00.*0.00 to 2.95 s"):
        ingest(video, tmp_path / "reel", **SIZE, signals=tmp_path / "other.csv")
    assert not (tmp_path / "reel").exists() and not (tmp_path / "reel.partial").exists()


def test_signals_are_interpolated_and_unknown_outside_their_range(make, tmp_path):
    video = make.write_video(tmp_path / "drive.mp4", 60)
    (tmp_path / "drive.csv").write_text("t,speed,_note\n" + "".join(f"{k / 10},{k},x\n" for k in range(5, 21)))
    ingest(video, tmp_path / "reel", **SIZE)
    speed = Reel(tmp_path / "reel").signals["speed"]
    np.testing.assert_allclose(speed[10:41], np.arange(31) / 2 + 5, atol=1e-4)
    assert np.isnan(speed[:10]).all() and np.isnan(speed[41:]).all()


SLOW = """
import sys, time
from roadcast.data import ingest
from roadcast.data.intake import workers
workers.BOOT = '''
import time
from roadcast.data.reel import piece
from roadcast.data.intake import worker
put = piece.Piece.put
def slow(*arguments):
    time.sleep(0.004)
    put(*arguments)
piece.Piece.put = slow
worker.main()
'''
ingest.ingest(sys.argv[1], sys.argv[2], height=32, width=64, workers=1)
"""


def test_an_ingest_killed_midway_goes_on_to_the_same_bytes(make, tmp_path):
    (tmp_path / "tubs").mkdir()
    for n in range(4):
        make.write_tub(tmp_path / "tubs" / f"t{n}", [k * 50 + n for k in range(80)])
    ingest(tmp_path / "tubs", tmp_path / "calm", **SIZE)
    out, pieces = tmp_path / "reel", tmp_path / "reel.partial" / "pieces"
    path = os.pathsep.join([os.path.dirname(os.path.dirname(roadcast.__file__)), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "tubs"), str(out)], env=os.environ | {"PYTHONPATH": path}
    )
    deadline = time.monotonic() + 30
    while len(list(pieces.glob("*.json"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists() and len(list(pieces.glob("*.json"))) >= 2, "killed between the first and the last recording"
    with pytest.raises(UserError, match="not finished"):
        Reel(out)
    kept = {p.name: p.stat().st_mtime_ns for p in pieces.glob("*.json")}
    written = []
    ingest(tmp_path / "tubs", out, **SIZE, progress=lambda name, frames: written.append(name))
    assert len(set(written)) == 4 - len(kept), "complete recordings are not written anew"
    assert make.contents(out) == make.contents(tmp_path / "calm")
    assert not (tmp_path / "reel.partial").exists()


def test_a_full_disk_is_told_rejects_nothing_and_keeps_what_is_complete(make, tmp_path):
    """The limit on a file's size stands for the disk: real writes fail, in the worker threads, from the second tub on."""
    (tmp_path / "tubs").mkdir()
    for n, frames in enumerate((50, 150, 50)):
        make.write_tub(tmp_path / "tubs" / f"t{n}", [k * 50 + n for k in range(frames)])
    ingest(tmp_path / "tubs", tmp_path / "calm", **SIZE)
    sizes = [shard.stat().st_size for shard in sorted((tmp_path / "calm" / "shards").iterdir())]
    with (
        size_limit(sum(sizes[:2]) // 2),
        pytest.raises(UserError, match=r"reel\.partial: File too large; make room there"),
    ):
        ingest(tmp_path / "tubs", tmp_path / "reel", **SIZE, workers=1)
    assert not (tmp_path / "reel").exists()
    assert len(list((tmp_path / "reel.partial" / "pieces").glob("*.json"))) == 1
    assert ingest(tmp_path / "tubs", tmp_path / "reel", **SIZE).rejected == []
    assert make.contents(tmp_path / "reel") == make.contents(tmp_path / "calm")


def test_a_full_folder_of_temporary_files_is_named(make, tmp_path, monkeypatch):
    tub = make.write_tub(tmp_path / "tub", [k * 50 for k in range(50)])
    archive = make.pack(tub, tmp_path / "tub.tar.gz")
    (tmp_path / "spool").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    with size_limit(20_000), pytest.raises(UserError, match="spool: File too large; make room there"):
        ingest(archive, tmp_path / "reel", **SIZE)


def test_workers_do_not_change_the_bytes(make, tmp_path):
    (tmp_path / "tubs").mkdir()
    for n in range(3):
        make.write_tub(tmp_path / "tubs" / f"t{n}", [k * 50 + n for k in range(50)])
    for workers in (0, 1, 4):
        ingest(tmp_path / "tubs", tmp_path / f"reel{workers}", **SIZE, workers=workers)
    here, *others = (make.contents(tmp_path / f"reel{workers}") for workers in (0, 1, 4))
    assert all(other == here for other in others)


def test_the_decoder_is_kept_with_the_reel(make, tmp_path, monkeypatch):
    video = make.write_video(tmp_path / "a.mp4", 60)
    with pytest.raises(UserError, match="decoder = 'vlc'; choose one of pyav, opencv, torchcodec"):
        ingest(video, tmp_path / "reel", **SIZE, decoder="vlc")
    ingest(video, tmp_path / "reel", **SIZE, decoder="opencv")
    assert Reel(tmp_path / "reel").header["origin"]["decoder"] == "opencv"
    assert ingest(video, tmp_path / "reel", **SIZE).already_done, "no other is taken although it is installed"
    monkeypatch.setattr(ingesting, "decoder_is_there", lambda name: name == "pyav")
    with pytest.raises(UserError, match="was begun with the decoder opencv, which is not installed now"):
        ingest(video, tmp_path / "reel", **SIZE)
    tub = make.write_tub(tmp_path / "tub", [k * 50 for k in range(60)])
    ingest(tub, tmp_path / "pictures", **SIZE)
    assert Reel(tmp_path / "pictures").header["origin"]["decoder"] is None


def test_slow_sources_are_not_cut_at_their_usual_step(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", [k * 500 for k in range(20)])
    with pytest.raises(UserError, match="nothing of the source is left"):
        ingest(tub, tmp_path / "reel", **SIZE, fps=2.0)
    assert usual_gap(None) == usual_gap(50_000_000) == 0.3 and usual_gap(500_000_000) == 1.25


def test_the_period_that_a_source_states_widens_the_gap(make, tmp_path, monkeypatch):
    listed = donkey._recording
    monkeypatch.setattr(donkey, "_recording", lambda path: replace(listed(path), period_ns=500_000_000))
    tub = make.write_tub(tmp_path / "tub", [k * 500 for k in range(20)])
    assert ingest(tub, tmp_path / "reel", **SIZE, fps=2.0, workers=0).frames == 20
    with pytest.raises(UserError, match="nothing of the source is left"):
        ingest(tub, tmp_path / "other", **SIZE, fps=2.0, max_gap=0.4, workers=0)


def test_a_real_tub_becomes_recordings_of_its_pauses(shared_data, tmp_path):
    summary = ingest(
        shared_data / "donkey" / "elsewhere.tar.gz",
        tmp_path / "reel",
        height=64,
        width=128,
        crop="bottom",
        split="test",
    )
    reel = Reel(tmp_path / "reel")
    assert summary.splits["test"] == summary.recordings == len(reel.videos)
    assert (
        summary.frames - summary.repeated <= 1078 <= summary.frames - summary.repeated + sum(summary.dropped.values())
    )
    assert reel.verify() == [] and np.isfinite(reel.signals["steer"]).all()


def test_a_source_is_appended_once(make, tmp_path):
    first, more = (make.write_tub(tmp_path / name, list(range(0, 5000, 50))) for name in ("first", "more"))
    options = dict(height=48, width=64, fps=20.0)
    ingest(first, tmp_path / "reel", **options)
    summary = ingest(more, tmp_path / "reel", **options, append=True)
    assert summary.frames == 200 and not summary.already_done
    again = ingest(more, tmp_path / "reel", **options, append=True)
    assert again.already_done and again.frames == 200 and Reel(tmp_path / "reel").verify() == []
    assert {v.name for v in Reel(tmp_path / "reel").videos} == {"first-0000", "more-0000"}


def test_what_an_append_rejects_is_told(make, tmp_path):
    good = make.write_tub(tmp_path / "good", list(range(0, 5000, 50)))
    (tmp_path / "more").mkdir()
    for name in ("fine", "broken"):
        make.write_tub(tmp_path / "more" / name, list(range(0, 5000, 50)))
    (tmp_path / "more" / "broken" / "catalog_0.catalog").write_text("{")
    options = dict(height=48, width=64, fps=20.0)
    ingest(good, tmp_path / "reel", **options)
    summary = ingest(tmp_path / "more", tmp_path / "reel", **options, append=True)
    assert summary.frames == 200 and [name for name, _ in summary.rejected] == ["broken"]


def test_sensors_are_chosen_by_name(tmp_path):
    source = "toyroad:recordings=1,frames=60,height=32,width=64,sensors=lidar+depth"
    options = dict(height=32, width=64, fps=20.0)
    ingest(source, tmp_path / "all", **options)
    ingest(source, tmp_path / "one", **options, sensors=("lidar", "sonar"))
    ingest(source, tmp_path / "none", **options, sensors=())
    assert [set(Reel(tmp_path / n).sensors) for n in ("all", "one", "none")] == [{"lidar", "depth"}, {"lidar"}, set()]
    assert "to_ego" in Reel(tmp_path / "one").videos[0].calibration["lidar"]
    assert "has no sensor 'sonar'; it has" in Reel(tmp_path / "one").header["report"]["warnings"][0]


POSED = """
import numpy as np
from roadcast.data.sources.base import Recording, Signal

class Posed:
    cameras = ("front",)

    def recordings(self):
        t_ns = np.arange(60) * 50_000_000
        poses = np.zeros((60, 7), np.float32)
        poses[:, 0], poses[:, 3] = 10.0 * t_ns * 1e-9, 1
        frames = lambda: ((int(t), np.full((48, 64, 3), 90, np.uint8)) for t in t_ns)
        yield Recording("posed", "made", frames, {"ego_pose": Signal(t_ns, poses)})
"""


def test_what_a_source_lacks_is_derived_from_its_poses(tmp_path, monkeypatch):
    (tmp_path / "posed_source.py").write_text(POSED)
    monkeypatch.chdir(tmp_path)
    ingest("posed_source:Posed", tmp_path / "reel", height=48, width=64)
    signals = Reel(tmp_path / "reel").signals
    np.testing.assert_allclose(signals["speed"][5:-5], 10, atol=0.1)
    np.testing.assert_allclose(signals["yaw_rate"][5:-5], 0, atol=1e-3)
