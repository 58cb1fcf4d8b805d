"""Dataset, recording and sequence give what the reel holds, and no sequence crosses a recording's border."""

import numpy as np
import pytest

from roadcast.data.reel.hierarchy import drives
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError


def test_drives_are_the_recordings_of_a_split(reel):
    assert [(d.video.name, len(d)) for d in drives(reel)] == [("a", 30), ("b", 20)]
    assert [d.video.name for d in drives(reel, "val")] == ["b"]


@pytest.mark.parametrize(("frames", "stride", "step"), [(8, 1, None), (4, 3, None), (5, 2, 1), (30, 1, 7), (31, 1, 1)])
def test_sequences_lie_inside_their_drive(reel, frames, stride, step):
    span = (frames - 1) * stride + 1
    for drive in drives(reel):
        found = [s.rows for s in drive.sequences(frames, stride, step)]
        first, last = drive.video.first, drive.video.first + len(drive)
        assert len(found) == len(range(first, last - span + 1, step or span))
        assert all(first <= rows.start and rows.stop <= last for rows in found)


def test_a_sequence_gives_pictures_controls_and_times(make, reel):
    sequence = list(next(drives(reel, "val")).sequences(4, 3))[1]
    assert [make.number(image) for image in sequence.images()] == pytest.approx([10, 13, 16, 19], abs=0.7)
    np.testing.assert_allclose(sequence.actions(("steer",))[0][:, 0], np.linspace(-1, 1, 20)[10::3], atol=1e-6)
    assert sequence.t_ns.tolist() == [100 * 10**9 + k * 50_000_000 for k in (10, 13, 16, 19)]
    assert np.isnan(sequence.poses()).all()


def test_poses_are_seen_from_the_first_frame(toy_reel):
    poses = next(drives(Reel(toy_reel))).whole().poses()
    np.testing.assert_allclose(poses[0], [0, 0, 0, 1, 0, 0, 0], atol=1e-6)
    assert poses[-1, 0] > 5 > abs(poses[1, 1])


def test_what_is_not_there_is_named(reel):
    drive = next(drives(reel))
    with pytest.raises(UserError, match=r"camera 'rear'.*front"):
        drive.whole().images("rear")
    with pytest.raises(UserError, match=r"sensor 'lidar'.*none"):
        next(drive.whole().readings("lidar"))
    with pytest.raises(UserError, match="stride = 0"):
        next(drive.sequences(4, 0))
