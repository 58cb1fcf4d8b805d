"""A reel appears whole or not at all; what was begun goes on to the same bytes."""

import errno
import os
from contextlib import suppress

import pytest

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.errors import UserError


def write(make, path):
    """Write the recordings of the fixture `reel`."""
    with ReelWriter(path, **make.SHAPE) as writer:
        writer.add(make.recording("a", 30), "train")
        writer.add(make.recording("b", 20, start=100), "val")


def begin(make, path):
    """Write the first of them, and be interrupted."""
    with suppress(KeyboardInterrupt), ReelWriter(path, **make.SHAPE) as writer:
        writer.add(make.recording("a", 30), "train")
        raise KeyboardInterrupt


def test_a_writer_goes_on_where_it_stopped_with_the_same_bytes(make, reel, tmp_path):
    again = tmp_path / "again"
    begin(make, again)
    assert not again.exists()
    first = make.recording("a", 30)
    first.frames = lambda: pytest.fail("was complete, and is written anew")
    with ReelWriter(again, **make.SHAPE) as writer:
        writer.add(first, "train")
        writer.add(make.recording("b", 20, start=100), "val")
    assert make.contents(again) == make.contents(reel.path)
    assert not again.with_name("again.partial").exists()


def test_other_settings_do_not_go_on_with_begun_work(make, tmp_path):
    begin(make, tmp_path / "reel")
    with (
        pytest.raises(UserError, match="jpeg_quality = 95, now 80"),
        ReelWriter(tmp_path / "reel", **make.SHAPE, quality=80),
    ):
        pass


def test_two_writers_do_not_write_one_reel(make, tmp_path):
    with ReelWriter(tmp_path / "reel", **make.SHAPE) as writer:
        with pytest.raises(UserError, match="another process"), ReelWriter(tmp_path / "reel", **make.SHAPE):
            pass
        writer.add(make.recording("a", 5))


def test_nothing_is_left_of_a_reel_without_recordings(make, tmp_path):
    with pytest.raises(UserError, match="no recording"), ReelWriter(tmp_path / "reel", **make.SHAPE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_knows_pictures_and_controls(make, reel, tmp_path):
    changed = make.recording("a", 30)
    changed.signals["steer"].values[3] += 0.01
    with ReelWriter(tmp_path / "other", **make.SHAPE) as writer:
        writer.add(changed, "train")
        writer.add(make.recording("b", 20, start=100), "val")
    assert Reel(tmp_path / "other").fingerprint != reel.fingerprint


def test_copies_of_train_pictures_in_val_are_warned_of(reel):
    assert "20 of 20 pictures of val and test are in train too" in reel.header["report"]["warnings"][0]


def failing(monkeypatch, name, call, code):
    """Let `os.<name>` fail from its call number `call` on with the system's error `code`; gives a list that grows with the calls."""
    real, calls = getattr(os, name), []

    def maybe(*arguments):
        calls.append(arguments)
        if len(calls) > call:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(os, name, maybe)
    return calls


def test_a_disk_that_is_full_at_any_moment_is_told_and_the_work_goes_on_to_the_same_bytes(make, reel, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        calls = failing(patch, "fsync", 10**9, errno.ENOSPC)
        write(make, tmp_path / "counted")
    syncs = len(calls) - 1  # the last is of the folder, after the reel has appeared
    assert syncs > 15
    for call in range(syncs):
        out, partial = tmp_path / f"out{call}", tmp_path / f"out{call}.partial"
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, "fsync", call, errno.ENOSPC)
            with pytest.raises(UserError, match=f"{partial}: No space left on device; make room there, then start"):
                write(make, out)
        assert partial.is_dir() and not out.exists()
        write(make, out)
        assert make.contents(out) == make.contents(reel.path)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EDQUOT, "make room there"),
        (errno.EROFS, "Read-only file system; give yourself access"),
        (errno.EACCES, "Permission denied; give yourself access"),
    ],
)
def test_other_ways_in_which_a_disk_bars_one_are_told_too(make, tmp_path, monkeypatch, code, told):
    failing(monkeypatch, "replace", 2, code)
    with pytest.raises(UserError, match=rf"reel\.partial.*{told}"):
        write(make, tmp_path / "reel")


def test_a_fault_that_is_not_the_user_s_keeps_its_traceback(make, tmp_path, monkeypatch):
    failing(monkeypatch, "fsync", 5, errno.EBADF)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        write(make, tmp_path / "reel")


def test_a_place_where_no_folder_can_be_made_is_named(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/reel\.partial: cannot be made \(Not a directory\); choose"):
        write(make, tmp_path / "file" / "reel")
