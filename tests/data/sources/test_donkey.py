"""Donkeycar tubs as they really are: holes, deletions, missing images, pilots, archives."""

import itertools
import json
import os
import tempfile

import cv2
import numpy as np
import pytest

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.open import open_source
from roadcast.errors import UserError

TIMES = [1_000_000 + k * 50 for k in range(60)]
SIZE = {"height": 32, "width": 64, "min_seconds": 0.5}


def only(path):
    (recording,) = open_source(path).recordings()
    return recording


def test_angles_to_the_right_become_steering_to_the_left(make, tmp_path):
    recording = only(make.write_tub(tmp_path / "tub", TIMES))
    np.testing.assert_allclose(recording.signals["steer"].values, -0.01 * np.arange(60), atol=1e-6)
    assert (recording.signals["throttle"].values == 0.5).all()


def test_time_is_the_timestamp_though_the_index_has_holes(make, tmp_path):
    recording = only(make.write_tub(tmp_path / "tub", TIMES, _index=lambda n: n * 7 + 100))
    frames = list(recording.frames())
    assert [t for t, _ in frames] == [t * 10**6 for t in TIMES]
    assert [round(make.number(image)) for _, image in frames] == pytest.approx(list(range(60)), abs=1)


def test_the_pilot_s_commands_count_where_the_pilot_drove(make, tmp_path):
    tub = make.write_tub(
        tmp_path / "tub", TIMES, user__mode=lambda n: "local" if n % 2 else "user",
        pilot__angle=lambda n: -0.3, pilot__throttle=lambda n: 0.9,
    )  # fmt: skip
    signals = only(tub).signals
    np.testing.assert_allclose(signals["steer"].values[1::2], 0.3, atol=1e-6)
    np.testing.assert_allclose(signals["steer"].values[::2], -0.01 * np.arange(0, 60, 2), atol=1e-6)
    np.testing.assert_allclose(signals["throttle"].values[1::2], 0.9, atol=1e-6)


def test_deleted_records_are_left_out(make, tmp_path):
    recording = only(make.write_tub(tmp_path / "tub", TIMES, deleted=tuple(range(10, 30))))
    assert [t for t, _ in recording.frames()] == [t * 10**6 for n, t in enumerate(TIMES) if not 10 <= n < 30]
    assert "20 of 60 records are deleted" in recording.notes[0]


def test_deletion_of_every_record_is_ignored_with_a_warning(make, tmp_path):
    recording = only(make.write_tub(tmp_path / "tub", TIMES, deleted=tuple(range(100))))
    assert len(list(recording.frames())) == 60 and "flags all 60 records" in recording.notes[0]


def test_a_missing_image_cuts_the_recording_and_is_counted(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", TIMES, missing=(30,))
    (tub / "images" / "45_cam_image_array_.jpg").write_bytes(b"no jpeg")
    summary = ingest(tub, tmp_path / "reel", **SIZE)
    assert [v.frames for v in Reel(tmp_path / "reel").videos] == [30, 14, 14]
    assert summary.dropped == {"missing or unreadable images": 2}
    assert any("2 pictures are missing, damaged" in warning for warning in summary.warnings)


def test_a_tub_without_any_image_is_refused(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", TIMES, missing=tuple(range(60)))
    with pytest.raises(UserError, match="none of the 60 images"):
        ingest(tub, tmp_path / "reel", **SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["tub"]


def test_an_archive_gives_the_same_reel_as_its_folder_and_leaves_no_files(make, tmp_path, monkeypatch):
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    tub = make.write_tub(tmp_path / "tub", TIMES)
    ingest(tub, tmp_path / "one", **SIZE)
    ingest(make.pack(tub, tmp_path / "tub.tar.gz"), tmp_path / "two", **SIZE)
    one, two = Reel(tmp_path / "one"), Reel(tmp_path / "two")
    assert one.videos[0].sha256 == two.videos[0].sha256 and one.videos[0].name == two.videos[0].name
    assert os.listdir(spool) == []


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_truncated_archive_is_refused(make, tmp_path, suffix, share):
    whole = make.pack(make.write_tub(tmp_path / "tub", TIMES), tmp_path / f"tub{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for end in range(int(len(whole) * share) // 512 * 512, int(len(whole) * share) // 512 * 512 + 2048, 256):
        cut.write_bytes(whole[: min(end, len(whole) * 9 // 10)])  # between members, inside a header, inside a picture
        with pytest.raises(UserError, match=r"cut\.tar.*cannot be read to its end"):
            ingest(cut, tmp_path / "reel", **SIZE)
        assert not (tmp_path / "reel").exists() and not (tmp_path / "reel.partial").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("manifest.json", "{", "manifest.json: not JSON"),
        ("manifest.json", "{}", 'no line with "paths"'),
        ("catalog_1.catalog", '{"_index": 1}\n', "lacks _timestamp_ms"),
        ("catalog_0.catalog", "garbage\n", "catalog_0.catalog: not JSON"),
    ],
)
def test_broken_text_files_are_named(make, tmp_path, file, text, message):
    tub = make.write_tub(tmp_path / "tub", TIMES)
    (tub / file).write_text(text)
    with pytest.raises(UserError, match=message):
        ingest(tub, tmp_path / "reel", **SIZE)


def test_repeated_pictures_stay_as_time_is_the_truth(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", TIMES)
    same = (tub / "images" / "20_cam_image_array_.jpg").read_bytes()
    (tub / "images" / "21_cam_image_array_.jpg").write_bytes(same)
    ingest(tub, tmp_path / "reel", **SIZE)
    reel = Reel(tmp_path / "reel")
    assert reel.frames == 60 and bytes(reel.jpeg(20)) == bytes(reel.jpeg(21)) != bytes(reel.jpeg(22))


@pytest.mark.parametrize(("name", "sign"), [("elsewhere", -1), ("workshop", 1)])
def test_real_steering_to_the_left_moves_the_picture_to_the_right(shared_data, tmp_path, name, sign):
    """The car of `elsewhere` was recorded with its steering the other way round."""
    (recording,) = open_source(shared_data / "donkey" / f"{name}.tar.gz").recordings()
    frames = recording.frames
    recording.frames = lambda: itertools.islice(frames(), 400)
    with ReelWriter(tmp_path / "reel", fps=20.0, height=120, width=160) as writer:
        writer.add(recording)
    reel = Reel(tmp_path / "reel")
    grey = [cv2.resize(cv2.cvtColor(reel.read(k), cv2.COLOR_RGB2GRAY), (128, 96))[32:76] for k in range(400)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    moved = np.array([np.median(flow.calc(a, b, None)[..., 0]) for a, b in itertools.pairwise(grey)])
    assert sign * np.corrcoef(reel.signals["steer"][:396], moved[3:])[0, 1] > 0.4


def test_an_inverted_signal_changes_its_sign_alone(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", TIMES)
    for invert in ((), ("steer",)):
        ingest(tub, tmp_path / f"reel{len(invert)}", **SIZE, invert=invert)
    one, two = (Reel(tmp_path / f"reel{k}").signals for k in (0, 1))
    np.testing.assert_array_equal(one["steer"], -two["steer"])
    np.testing.assert_array_equal(one["throttle"], two["throttle"])
    with pytest.raises(UserError, match="invert = 'brake'"):
        ingest(tub, tmp_path / "reel", **SIZE, invert=("brake",))


def test_a_catalog_with_fewer_records_than_its_own_manifest_counts_is_refused(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", TIMES)
    (tub / "catalog_1.catalog_manifest").write_text(json.dumps({"line_lengths": [100] * 30, "start_index": 30}))
    assert ingest(tub, tmp_path / "reel", **SIZE).frames == 60
    lines = (tub / "catalog_1.catalog").read_text().splitlines(keepends=True)
    (tub / "catalog_1.catalog").write_text("".join(lines[:-1]))
    with pytest.raises(
        UserError, match=r"catalog_1.catalog: 29 records are not all that catalog_1.catalog_manifest tells of"
    ):
        ingest(tub, tmp_path / "other", **SIZE)


def test_tables_of_nonsense_reject_their_tub_alone(make, tmp_path):
    (tmp_path / "tubs").mkdir()
    make.write_tub(tmp_path / "tubs" / "a", TIMES)
    make.write_tub(tmp_path / "tubs" / "b", TIMES, _timestamp_ms=lambda n: "noon")
    make.write_tub(tmp_path / "tubs" / "c", TIMES, _timestamp_ms=lambda n: 10**30)
    (make.write_tub(tmp_path / "tubs" / "d", TIMES) / "manifest.json").write_bytes(b"\xff\xfe")
    (make.write_tub(tmp_path / "tubs" / "e", TIMES) / "manifest.json").write_text("[" * 100_000)
    summary = ingest(tmp_path / "tubs", tmp_path / "reel", **SIZE)
    assert summary.frames == 60 and [name for name, _ in summary.rejected] == ["b", "c", "d", "e"]


def test_a_packed_archive_is_held_to_its_checksum(make, tmp_path):
    archive = make.pack(make.write_tub(tmp_path / "tub", TIMES), tmp_path / "tub.tar.gz")
    data = bytearray(archive.read_bytes())
    data[-8] ^= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match="CRC check failed"):
        ingest(archive, tmp_path / "reel", **SIZE)
