"""A contact sheet shows recordings evenly, and reads no more than it shows."""

import numpy as np

from roadcast.data.draw.canvas import SPLIT_COLOURS
from roadcast.data.draw.contact_sheet import clock, draw_contact_sheet, draw_recording_sheet, spaced
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter


def test_both_ends_and_what_is_evenly_between():
    assert spaced(9, 3) == [0, 4, 8] and spaced(2, 8) == [0, 1] and spaced(1, 8) == [0]


def test_each_recording_has_its_splits_colour_and_its_own_pictures(reel, monkeypatch):
    read, real = [], Reel.read
    monkeypatch.setattr(Reel, "read", lambda self, frame, *rest: read.append(frame) or real(self, frame, *rest))
    image = draw_contact_sheet(reel, columns=4)
    assert read == [0, 10, 19, 29, 30, 36, 43, 49]
    for split, there in (("train", True), ("val", True), ("test", False)):
        assert (image == SPLIT_COLOURS[split]).all(2).any() == there


def test_of_many_recordings_some_are_shown_and_that_is_told(make, tmp_path):
    with ReelWriter(tmp_path / "many", **make.SHAPE) as writer:
        for n in range(9):
            writer.add(make.recording(f"r{n}", 3, start=n), "train")
    reel = Reel(tmp_path / "many")
    all_of_it, some = draw_contact_sheet(reel, 2, 9), draw_contact_sheet(reel, 2, 4)
    assert some.shape[0] < all_of_it.shape[0] * 0.6 and some.shape[1] == all_of_it.shape[1]


def test_a_sheet_of_one_recording_has_its_pictures_in_rows(reel):
    sheet = draw_recording_sheet(reel, reel.videos[0], columns=4, rows=2)
    red = np.abs(sheet.astype(int) - [200, 0, 0]).max(2) < 40
    assert len(np.flatnonzero(np.diff(red.any(1).astype(int)) == 1)) == 2


def test_times_of_more_than_a_minute_have_minutes():
    assert [clock(7.24), clock(59.96), clock(65.0)] == ["7.2 s", "1:00.0", "1:05.0"]
