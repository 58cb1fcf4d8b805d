"""Videos: every frame with its time, or a refusal that names the file."""

import cv2
import numpy as np
import pytest

from roadcast.data.decode import read_video
from roadcast.errors import UserError


def test_every_frame_comes_with_its_time_in_rgb(make, tmp_path):
    frames = list(read_video(make.write_video(tmp_path / "a.mp4", 40, fps=25.0)))
    assert [round(t / 1e6) for t, _ in frames] == [40 * k for k in range(40)]
    assert [round(make.number(image)) for _, image in frames] == pytest.approx(list(range(40)), abs=1)
    assert frames[9][1][5, 5, 0] > 150 > frames[9][1][5, 5, 2]


def test_a_text_file_is_refused(tmp_path, capfd):
    (tmp_path / "notes.mp4").write_text("not a video at all")
    with pytest.raises(UserError, match=r"notes\.mp4: cannot be opened as a video"):
        list(read_video(tmp_path / "notes.mp4"))
    assert capfd.readouterr().err == ""


def test_a_file_without_its_end_is_refused(make, tmp_path, capfd):
    whole = make.write_video(tmp_path / "a.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.mp4: cannot be opened"):
        list(read_video(tmp_path / "cut.mp4"))
    assert capfd.readouterr().err == ""


def moov_first(path):
    """The mp4 with its table of contents moved before its pictures, as streaming files have it."""
    data = path.read_bytes()
    boxes, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    moov = bytearray(boxes[b"moov"])
    old = len(boxes[b"ftyp"]) + sum(len(box) for name, box in boxes.items() if name not in (b"ftyp", b"moov", b"mdat"))
    at = moov.index(b"stco") + 8
    for k in range(int.from_bytes(moov[at : at + 4], "big")):
        place = at + 4 + 4 * k
        moved = int.from_bytes(moov[place : place + 4], "big") + len(moov)
        moov[place : place + 4] = moved.to_bytes(4, "big")
    assert old + 8 < len(data)
    rest = b"".join(box for name, box in boxes.items() if name not in (b"ftyp", b"moov", b"mdat"))
    return boxes[b"ftyp"] + bytes(moov) + rest + boxes[b"mdat"]


def test_a_file_with_fewer_frames_than_it_counts_is_refused_with_both_counts(make, tmp_path):
    path = make.write_video(tmp_path / "a.mp4", 60)
    data = moov_first(path)
    (tmp_path / "whole.mp4").write_bytes(data)
    assert len(list(read_video(tmp_path / "whole.mp4"))) == 60
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(UserError, match=r"cut\.mp4: \d\d? frames decoded of 60"):
        list(read_video(tmp_path / "cut.mp4"))


def test_a_raw_stream_needs_its_rate_stated(shared_data):
    path = shared_data / "mp4" / "transcoded_raw.hevc"
    with pytest.raises(UserError, match="--rate"):
        list(read_video(path))
    times = [t for t, _ in read_video(path, rate=25.0)]
    assert len(times) == 150 and np.diff(times).tolist() == [40_000_000] * 149


def test_a_stated_rate_does_not_replace_true_times(make, tmp_path):
    path = make.write_video(tmp_path / "a.mp4", 10, fps=25.0)
    assert [t for t, _ in read_video(path, rate=5.0)] == [t for t, _ in read_video(path)]


def test_variable_rates_keep_their_times(shared_data):
    steps = np.diff([t for t, _ in read_video(shared_data / "mp4" / "transcoded_h264_vfr.mp4")]) / 1e6
    assert steps.min() == pytest.approx(33.3, abs=0.1) and steps.max() == pytest.approx(133.3, abs=0.1)


@pytest.mark.parametrize("name", ["hifz_dashcam.mp4", "transcoded_hevc_25fps.mp4", "transcoded_h264_10fps.mp4"])
def test_real_videos_give_the_frames_they_count(shared_data, name):
    path = shared_data / "mp4" / name
    assert len(list(read_video(path))) == cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)
