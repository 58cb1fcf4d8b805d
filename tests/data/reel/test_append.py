"""A reel that is appended to is the old one or the longer one, at any moment, and ends with the same bytes."""

import os

import pytest

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.errors import UserError


def extend(make, path, names=("c", "d")):
    with ReelWriter(path, **make.SHAPE, append=True, origin={"source": "more"}) as writer:
        for n, name in enumerate(names):
            writer.add(make.recording(name, 10 + n, start=200 + n), "test")


def test_what_is_appended_stands_behind_what_was_there(make, reel):
    before = [(v.name, v.split, v.sha256) for v in reel.videos]
    extend(make, reel.path)
    longer = Reel(reel.path)
    assert [(v.name, v.split, v.sha256) for v in longer.videos][:2] == before
    assert [(v.name, v.split, v.first, v.frames) for v in longer.videos[2:]] == [
        ("c", "test", 50, 10),
        ("d", "test", 60, 11),
    ]
    assert longer.verify() == [] and make.number(longer.read(64)) == pytest.approx(4, abs=0.7)
    assert longer.actions(60, 3, 1, ("steer",))[1].all() and longer.header["appended"][0]["source"] == "more"
    assert not list(reel.path.parent.glob("*.partial"))


def test_a_reader_opened_before_goes_on(make, reel):
    extend(make, reel.path)
    assert reel.frames == 50 and make.number(reel.read(35)) == pytest.approx(5, abs=0.7)


def test_a_reel_of_schema_1_can_be_appended_to(make, reel, tmp_path):
    from roadcast.data.reel.tables import load_tables

    tables = load_tables(reel.path, reel.header)
    assert tables.frames == 50
    (reel.path / "tables/0001").rename(tmp_path / "old")
    for part in (tmp_path / "old").iterdir():
        part.rename(reel.path / part.name)
    (reel.path / "sensors").rmdir()
    (reel.path / "calibrations.json").unlink()
    header = (reel.path / "reel.json").read_text()
    (reel.path / "reel.json").write_text(
        header.replace('"schema": 2', '"schema": 1').replace('"tables": "tables/0001",', "")
    )
    extend(make, reel.path)
    assert Reel(reel.path).frames == 71 and Reel(reel.path).verify() == []
    assert sorted(p.name for p in reel.path.iterdir()) == ["reel.json", "shards", "tables"]


@pytest.mark.parametrize("call", range(1, 12))
def test_a_writer_killed_at_any_rename_goes_on_to_the_same_reel(make, reel, tmp_path, monkeypatch, call):
    straight = tmp_path / "straight"
    with ReelWriter(straight, **make.SHAPE) as writer:
        writer.add(make.recording("a", 30), "train")
        writer.add(make.recording("b", 20, start=100), "val")
    extend(make, straight)
    calls = []

    def killed(real):
        def rename(*arguments):
            calls.append(arguments)
            if len(calls) == call:
                raise KeyboardInterrupt
            return real(*arguments)

        return rename

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed(os.replace))
        patch.setattr(os, "rename", killed(os.rename))
        try:
            extend(make, reel.path)
        except KeyboardInterrupt:
            pass
        else:
            pytest.fail(f"an append takes fewer than {call} renames: lower the range")
    assert Reel(reel.path).verify() == [] and Reel(reel.path).frames in (50, 71)
    if Reel(reel.path).frames == 50:
        extend(make, reel.path)
    assert make.contents(reel.path) == make.contents(straight)


@pytest.mark.parametrize(("key", "value"), [("fps", 10.0), ("height", 32), ("quality", 80)])
def test_another_shape_is_not_appended(make, reel, key, value):
    with pytest.raises(UserError, match=f"has (jpeg_)?{key}"):
        ReelWriter(reel.path, **(make.SHAPE | {key: value}), append=True).__enter__()


def test_a_name_that_is_there_already_is_refused(make, reel):
    with pytest.raises(UserError, match="two recordings are named 'a'"):
        extend(make, reel.path, names=("a",))
    assert Reel(reel.path).frames == 50
