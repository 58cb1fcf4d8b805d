"""Videos and folders of images, with and without controls beside them."""

import cv2
import numpy as np
import pytest

from roadcast.data.sources.images import natural
from roadcast.data.sources.open import open_source
from roadcast.data.sources.signal_files import read_signals
from roadcast.errors import UserError


def images(make, folder, count):
    folder.mkdir()
    for n in range(count):
        cv2.imwrite(str(folder / f"f{n}.png"), make.picture(n)[..., ::-1])
    return folder


def test_names_of_videos_are_stems_and_stay_apart(make, tmp_path):
    (tmp_path / "day").mkdir()
    for name in ("a.mp4", "a.avi", "b.mp4", "day/b.mp4"):
        make.write_video(tmp_path / name, 3)
    assert [r.name for r in open_source(tmp_path).recordings()] == ["a.avi", "a.mp4", "b", "day_b"]


def test_controls_of_the_same_stem_are_taken(make, tmp_path):
    make.write_video(tmp_path / "a.mp4", 3)
    (tmp_path / "a.jsonl").write_text('{"t_ns": 0, "steer": 0.5}\n{"t_ns": 100000000, "steer": -0.5, "speed": 3}\n')
    (recording,) = open_source(tmp_path / "a.mp4").recordings()
    assert recording.signals["steer"].values.tolist() == [0.5, -0.5]
    assert recording.signals["speed"].t_ns.tolist() == [100_000_000]


def test_one_signals_file_cannot_serve_two_videos(make, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        make.write_video(tmp_path / name, 3)
    with pytest.raises(UserError, match="cannot serve 2 videos"):
        open_source(tmp_path, signals="x.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,stear\n0,1\n", "column 'stear' is unknown; known: t, t_ns, steer, throttle"),
        ("steer\n1\n", "no column t"),
        ("t,steer\n0,left\n", "row 1: steer = 'left' is no number"),
        ("t,steer\n0,0\n1,30\n", "row 2: steer = 30 is outside -1 to 1"),
        ("t,_x\n0,0\n", "no control"),
        ("t,steer\n,0\n", "row 1: t is empty"),
        ("t,steer\n", "no rows"),
        ("t,steer\n1,2,3\n", "unequal length"),
    ],
)
def test_signals_that_cannot_be_read_are_named(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_signals(path)


def test_times_in_nanoseconds_keep_every_digit(tmp_path):
    (tmp_path / "s.csv").write_text("t_ns,steer\n1668211252201000001,0\n1668211252201000002,1\n")
    assert read_signals(tmp_path / "s.csv")["steer"].t_ns.tolist() == [1668211252201000001, 1668211252201000002]


def test_images_come_in_natural_order_at_the_rate(make, tmp_path):
    folder = images(make, tmp_path / "shots", 12)
    (recording,) = open_source(folder, rate=10.0).recordings()
    frames = list(recording.frames())
    assert [t for t, _ in frames] == [k * 10**8 for k in range(12)]
    assert all(np.array_equal(image, make.picture(n)) for n, (_, image) in enumerate(frames))
    assert recording.notes == ()


def test_images_without_a_rate_take_the_reel_s_and_say_so(make, tmp_path):
    (recording,) = open_source(images(make, tmp_path / "shots", 3), fps=5.0).recordings()
    assert [t for t, _ in recording.frames()] == [0, 200_000_000, 400_000_000] and "5 a second" in recording.notes[0]


def test_images_take_times_and_controls_from_their_table(make, tmp_path):
    folder = images(make, tmp_path / "shots", 4)
    (folder / "signals.csv").write_text("_file,t,steer\nf2.png,0.0,0.1\nf0.png,0.5,0.2\ngone.png,0.7,0.3\n")
    (recording,) = open_source(folder).recordings()
    frames = list(recording.frames())
    assert [t for t, _ in frames] == [0, 500_000_000, 700_000_000] and frames[2][1] is None
    assert np.array_equal(frames[0][1], make.picture(2)) and len(recording.signals["steer"].t_ns) == 3
    assert "2 of 4 images have no row" in recording.notes[0]


def test_a_table_of_other_images_is_refused(make, tmp_path):
    folder = images(make, tmp_path / "shots", 2)
    (folder / "signals.csv").write_text("_file,t,steer\nx.png,0.0,0.1\n")
    with pytest.raises(UserError, match="no _file of it is in"):
        list(open_source(folder).recordings())


def test_numbers_in_names_count_as_numbers():
    assert sorted(["a10", "a9", "A1", "b", "007", "7"], key=natural) == ["007", "7", "A1", "a9", "a10", "b"]
