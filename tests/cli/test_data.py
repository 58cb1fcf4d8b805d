"""`roadcast data`: what it tells, draws, finds damaged, divides and joins, and what it refuses."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadcast.cli.main import DATA_COMMANDS, run
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording

SENSED = "toyroad:recordings=3,frames=12,weather=clear,height=32,width=64,sensors=lidar+depth"


@pytest.fixture(scope="session")
def sensed(tmp_path_factory) -> Path:
    """A reel of three drives with LiDAR and pictures of depth."""
    path = tmp_path_factory.mktemp("sensed") / "reel"
    assert run(["ingest", SENSED, str(path), "--height", "32", "--width", "64", "--min-seconds", "0"]) == 0
    return path


@pytest.fixture
def copy(reel, tmp_path) -> Path:
    """A copy of the reel, to do with as one likes."""
    return shutil.copytree(reel, tmp_path / "copy")


def picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def told(capsys, *arguments) -> str:
    """What a command that succeeds prints."""
    capsys.readouterr()
    assert run(["data", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_a_slip_is_corrected(capsys, refused):
    for arguments in ((), ("--help",)):
        with pytest.raises(SystemExit) as left:
            run(["data", *arguments])
        out = capsys.readouterr().out
        assert left.value.code == 0 and all(f"\n  {name} " in out for name in DATA_COMMANDS)
    assert "did you mean split?" in refused(["data", "spli"])


def test_info_tells_lengths_sensors_signals_storage_and_where_it_came_from(sensed, capsys):
    out = told(capsys, "info", sensed)
    reel = Reel(sensed)
    stored, readings = int(reel.index["length"].sum()), reel.sensors["lidar"].index["length"].sum()
    for part in (
        "recordings   3 of 3 drives, from toyroad",
        "frames       36 = 1.8 s at 20 a second",
        "train 1 recordings, 12 frames, 0.6 s",
        f"{36 * 32 * 64 * 3 / stored:.1f} times smaller than raw RGB, at JPEG quality 95",
        f"lidar         lidar, 18 readings, 10.0 a second, {readings / 1000:.0f} kB; x y z",
        "depth         image, 36 readings, 20.0 a second",
        "steer         100%  ",
        "(m/s)",
        "dropped      nothing",
        f"made from    {SENSED}",
        reel.fingerprint,
        "########################",
    ):
        assert part in out


def test_info_of_a_folder_is_the_same_telling(reel, capsys):
    out = told(capsys, "info", reel)
    assert run(["info", str(reel)]) == 0
    assert capsys.readouterr().out == out


def test_info_draws_histograms(sensed, tmp_path, capsys, refused):
    told(capsys, "info", sensed, "--picture", tmp_path / "signals.png")
    assert picture(tmp_path / "signals.png").shape[1] > 1000
    assert "give a name that ends so" in refused(["data", "info", sensed, "--picture", tmp_path / "signals.bmp"])


def test_verify_of_a_whole_reel_passes(sensed, capsys):
    assert "every byte is as it was written\n" in told(capsys, "verify", sensed)
    assert "every picture can be decoded" in told(capsys, "verify", sensed, "--deep")


def test_verify_names_each_damage_and_exits_with_2(copy, capsys):
    reel = Reel(copy)
    for frame in (3, 40):
        row, name = reel.index[frame], f"{copy}/shards/{reel.index[frame]['shard']:05d}.bin"
        with open(name, "r+b") as file:
            file.seek(int(row["offset"]) + 100)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
    capsys.readouterr()
    assert run(["data", "verify", str(copy)]) == 2
    said = capsys.readouterr()
    damages = [line for line in said.out.splitlines() if "does not match its checksum" in line]
    assert len(damages) == 2 and "frame 3 (" in damages[0] and "frame 40 (" in damages[1]
    assert "2 damages, named above" in said.err


def test_verify_notes_pictures_that_splits_share_and_still_passes(tmp_path, capsys):
    source = tmp_path / "film.mp4"
    film = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"mp4v"), 20, (64, 32))
    scene = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 48, 3), np.uint8), (384, 32))
    for n in range(30):
        film.write(np.ascontiguousarray(scene[:, 10 * n : 10 * n + 64]))
    film.release()
    for name in ("a", "b", "c"):
        (tmp_path / "films").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "films" / f"{name}.mp4")
    made = ["ingest", tmp_path / "films", tmp_path / "leaky", "--height", 32, "--width", 64, "--min-seconds", 0]
    assert run(list(map(str, made))) == 0
    (note,) = [line for line in told(capsys, "verify", tmp_path / "leaky").splitlines() if line.startswith("note: ")]
    assert "60 of 60 pictures of val and test" in note and "train" in note


def test_show_writes_sheets_moments_and_videos(sensed, tmp_path, capsys):
    for name in ("sheet.png", "sheet.jpg"):
        told(capsys, "show", sensed, "--out", tmp_path / name)
        assert picture(tmp_path / name).shape[1] > 1400
    recording = Reel(sensed).videos[1].name
    told(capsys, "show", sensed, "--recording", recording, "--out", tmp_path / "one.png")
    told(capsys, "show", sensed, "--recording", recording, "--at", 0.2, "--out", tmp_path / "moment.png")
    out = told(
        capsys, "show", sensed, "--recording", recording, "--at", 0.1, "--seconds", 0.25, "--out", tmp_path / "a.mp4"
    )
    assert f"5 frames, 0.2 s of {recording}" in out
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (5, 20)
    good, frame = video.read()
    assert good and frame.shape == picture(tmp_path / "moment.png").shape
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.mp4",
        "moment.png",
        "one.png",
        "sheet.jpg",
        "sheet.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--out", "a.gif"], "give a name that ends so"),
        (["--out", "a.png", "--seconds", "1"], "is for a video"),
        (["--out", "a.mp4", "--seconds", "0"], "give a positive number"),
        (["--out", "a.mp4", "--at", "99"], "goes from 0 to 0.55 s"),
        (["--out", "a.mp4", "--recording", "nobody"], "is not in"),
    ],
)
def test_show_refuses_what_cannot_be(sensed, tmp_path, monkeypatch, refused, arguments, why):
    monkeypatch.chdir(tmp_path)
    assert why in refused(["data", "show", sensed, *arguments])
    assert not list(tmp_path.iterdir())


def test_split_divides_anew_and_keeps_the_pictures(copy, capsys, refused):
    before = {path.name: path.read_bytes() for path in (copy / "shards").iterdir()}
    out = told(capsys, "split", copy, "--fractions", 0, 1, 1)
    assert "train  0 recordings" in out and {video.split for video in Reel(copy).videos} == {"val", "test"}
    told(capsys, "split", copy)
    assert sorted(video.split for video in Reel(copy).videos) == ["test", "train", "val"]
    assert {path.name: path.read_bytes() for path in (copy / "shards").iterdir()} == before
    assert Reel(copy).verify() == []
    assert "give three shares of 0 or more" in refused(["data", "split", copy, "--fractions", "-1", "1", "1"])


def test_merge_joins_reels_that_go_together(reel, tmp_path, capsys, refused):
    other = tmp_path / "other"
    source = "toyroad:recordings=1,frames=10,seed=7,weather=clear,height=32,width=64"
    assert run(["ingest", source, str(other), "--height", "32", "--width", "64", "--min-seconds", "0"]) == 0
    assert "4 recordings, 100 frames" in told(capsys, "merge", reel, other, "--out", tmp_path / "both")
    assert Reel(tmp_path / "both").verify() == []
    out = told(capsys, "info", tmp_path / "both")
    assert "merged of reel (toyroad:recordings=3" in out and f"and other ({source})" in out
    assert "is there already" in refused(["data", "merge", reel, other, "--out", tmp_path / "both"])


def test_merge_refuses_reels_that_do_not_go_together(reel, sensed, tmp_path, refused):
    assert "has sensors" in refused(["data", "merge", reel, sensed, "--out", tmp_path / "both"])
    assert "has a recording" in refused(["data", "merge", reel, reel, "--out", tmp_path / "both"])
    assert not list(tmp_path.iterdir())


def test_export_writes_a_dataset_that_ingest_reads(sensed, tmp_path, capsys):
    assert run(["data", "export", str(sensed), str(tmp_path / "lerobot")]) == 0
    again = tmp_path / "again"
    size = ["--height", "32", "--width", "64", "--min-seconds", "0"]
    assert run(["ingest", str(tmp_path / "lerobot"), str(again), *size]) == 0
    assert Reel(again).frames == Reel(sensed).frames


def test_split_keeps_recordings_that_share_pictures_together(tmp_path, capsys):
    with ReelWriter(tmp_path / "reel", fps=20, height=48, width=64) as writer:
        for n in range(8):
            chance = np.random.default_rng(n // 2)
            pictures = [cv2.resize(chance.integers(0, 255, (6, 8, 3), np.uint8), (64, 48)) for _ in range(6)]
            frames = [(k * 50_000_000, picture) for k, picture in enumerate(pictures)]
            writer.add(Recording(f"r{n}", "made", lambda frames=frames: iter(frames), {}))
    told(capsys, "split", tmp_path / "reel", "--keep-copies-together")
    splits = [video.split for video in Reel(tmp_path / "reel").videos]
    assert splits[::2] == splits[1::2] and set(splits) == {"train", "val", "test"}


def test_split_by_place_wants_places_apart(sensed, tmp_path, refused):
    copy = shutil.copytree(sensed, tmp_path / "copy")
    assert "form only 1 groups" in refused(["data", "split", copy, "--by", "place"])
