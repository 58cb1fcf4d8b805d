"""Reels are merged whole or not at all, what does not fit is named, and a new division touches only the tables."""

import os

import numpy as np
import pytest

from roadcast.data.reel.edit import merge, resplit
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Sensor
from roadcast.errors import UserError


def write_reel(make, path, names, *, points=None, fields=("x", "y", "z"), start=0, **shape):
    """A reel of recordings of 10, 11, ... frames, each with three LiDAR readings of `points` points if that is given."""
    with ReelWriter(path, **(make.SHAPE | shape), origin={"source": path.name}) as writer:
        for n, name in enumerate(names):
            size = {key: value for key, value in shape.items() if key in ("height", "width")}
            recording = make.recording(name, 10 + n, start=start + 10 * n, **size)
            if points:
                t_ns = (start + 10 * n) * 10**9 + np.arange(3) * 100_000_000
                table = np.full((points, len(fields)), points + n, np.float32)
                recording.sensors = {"lidar": Sensor("lidar", fields, t_ns, lambda k, table=table: table + k)}
            writer.add(recording, ("train", "val", "test")[n % 3])
    return Reel(path)


def test_every_picture_signal_and_reading_is_in_the_merged_reel(make, tmp_path):
    parts = [
        write_reel(make, tmp_path / "one", ["a", "b"], points=4),
        write_reel(make, tmp_path / "two", ["c", "d", "e"], points=7, start=500),
    ]
    merged = merge([part.path for part in parts], tmp_path / "merged")
    assert merged.verify() == [] and merged.frames == 21 + 33
    assert [(v.name, v.split, v.frames) for v in merged.videos] == [
        (v.name, v.split, v.frames) for part in parts for v in part.videos
    ]
    moment = reading = 0
    for part in parts:
        for n in range(part.frames):
            assert bytes(merged.jpeg(moment)) == bytes(part.jpeg(n)) and merged.t_ns[moment] == part.t_ns[n]
            assert merged.signals["steer"][moment] == part.signals["steer"][n]
            moment += 1
        for n in range(len(part.sensors["lidar"])):
            np.testing.assert_array_equal(merged.sensors["lidar"].read(reading), part.sensors["lidar"].read(n))
            reading += 1
    assert [list(merged.sensors["lidar"].of(n)) for n in (1, 2)] == [[3, 4, 5], [6, 7, 8]]


def test_pictures_take_no_space_twice_and_outlive_the_merged_reels(make, tmp_path):
    import shutil

    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"], start=90)
    merged = merge([one.path, two.path], tmp_path / "merged")
    assert os.path.samefile(merged.path / "shards/00001.bin", two.path / "shards/00000.bin")
    shutil.rmtree(one.path)
    shutil.rmtree(two.path)
    assert Reel(merged.path).verify() == []


def test_shards_are_copied_where_there_are_no_hard_links(make, tmp_path, monkeypatch):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"], start=90)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    merged = merge([one.path, two.path], tmp_path / "merged")
    assert merged.verify() == [] and not os.path.samefile(
        merged.path / "shards/00000.bin", one.path / "shards/00000.bin"
    )


def test_where_it_came_from_is_kept(make, tmp_path):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"], start=90)
    parts = merge([one.path, two.path], tmp_path / "merged").header["origin"]["merged"]
    assert [(part["reel"], part["origin"]["source"], part["fingerprint"]) for part in parts] == [
        ("one", "one", one.fingerprint),
        ("two", "two", two.fingerprint),
    ]


def test_pictures_that_val_shares_with_train_are_told(make, tmp_path):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b", "c"])
    (warning,) = merge([one.path, two.path], tmp_path / "merged").header["report"]["warnings"]
    assert "pictures of val and test" in warning


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"fps": 10.0}, "has fps 10.0, and .*one 20.0"),
        ({"height": 32}, "has height 32, and .*one 48"),
        ({"quality": 80}, "has jpeg_quality 80, and .*one 95"),
        ({"cameras": ("rear",)}, "has cameras rear, and .*one front"),
        ({"points": 3}, r"has sensors lidar \(lidar: x y z\), and .*one none"),
    ],
)
def test_a_reel_that_does_not_fit_is_named(make, tmp_path, shape, told):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"], **shape)
    with pytest.raises(UserError, match=f"two: {told}"):
        merge([one.path, two.path], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_name_in_two_reels_is_refused(make, tmp_path):
    one, two = write_reel(make, tmp_path / "one", ["a", "b"]), write_reel(make, tmp_path / "two", ["b"])
    with pytest.raises(UserError, match=r"two: has a recording 'b', as .*one has"):
        merge([one.path, two.path], tmp_path / "merged")


def test_what_is_there_is_not_overwritten_and_one_reel_is_no_merge(make, tmp_path):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"])
    with pytest.raises(UserError, match="is there already"):
        merge([one.path, two.path], one.path)
    with pytest.raises(UserError, match="two reels or more"):
        merge([one.path], tmp_path / "merged")
    assert Reel(one.path).verify() == []


@pytest.mark.parametrize("call", range(1, 4))
def test_a_merge_killed_at_any_rename_leaves_nothing_that_counts(make, tmp_path, monkeypatch, call):
    one, two = write_reel(make, tmp_path / "one", ["a"]), write_reel(make, tmp_path / "two", ["b"], start=90)
    calls, real = [], os.replace

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            merge([one.path, two.path], tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and Reel(one.path).verify() == [] == Reel(two.path).verify()
    assert merge([one.path, two.path], tmp_path / "merged").verify() == []


def test_new_splits_change_the_tables_alone(make, tmp_path):
    reel = write_reel(make, tmp_path / "one", ["a", "b", "c"], points=3)
    shards = make.contents(reel.path / "shards")
    resplit(reel.path, {"a": "test", "b": "train"})
    again = Reel(reel.path)
    assert [v.split for v in again.videos] == ["test", "train", "test"] and again.verify() == []
    assert make.contents(reel.path / "shards") == shards and again.fingerprint != reel.fingerprint
    assert [v._replace(split="") for v in again.videos] == [v._replace(split="") for v in reel.videos]


def test_splits_that_cannot_be_are_refused(make, reel):
    for splits, told in (({"z": "val"}, "no recording 'z'"), ({"a": "dev"}, "split 'dev' is none")):
        with pytest.raises(UserError, match=told):
            resplit(reel.path, splits)
    reel.path.with_name("reel.partial").mkdir()
    with pytest.raises(UserError, match="is being appended"):
        resplit(reel.path, {"a": "val"})
    assert Reel(reel.path).fingerprint == reel.fingerprint


def test_a_new_division_tells_anew_which_pictures_its_splits_share(make, tmp_path):
    path = write_reel(make, tmp_path / "one", ["a", "b"]).path
    assert "10 of 11 pictures of val" in Reel(path).header["report"]["warnings"][0]
    resplit(path, {"b": "train"})
    assert Reel(path).header["report"]["warnings"] == []
    resplit(path, {"a": "test"})
    assert "10 of 10 pictures of val" in Reel(path).header["report"]["warnings"][0]
