"""Signals between their samples, and sources by their address."""

import numpy as np
import pytest

from roadcast.data.sources.base import Signal
from roadcast.data.sources.donkey import DonkeySource
from roadcast.data.sources.images import ImageSource
from roadcast.data.sources.open import open_source
from roadcast.data.sources.video import VideoSource
from roadcast.errors import UserError

SECOND = 10**9


def test_a_signal_is_linear_between_samples_and_unknown_outside():
    signal = Signal.of(np.array([0, 2, 4]) * SECOND, np.array([0.0, 10.0, 0.0]))
    values = signal.at(np.array([-1, 0, 1, 2, 3, 4, 5]) * SECOND)
    np.testing.assert_allclose(values, [np.nan, 0, 5, 10, 5, 0, np.nan])


def test_a_long_hole_is_unknown_but_slow_samples_are_not():
    times = np.array([0, 1, 2, 3, 20, 21, 22]) * SECOND
    values = Signal.of(times, np.arange(7.0)).at(np.array([1.5, 10.0, 20.0, 20.5]) * SECOND, max_gap_ns=0.3 * SECOND)
    np.testing.assert_allclose(values, [1.5, np.nan, 4, 4.5])


def test_samples_come_in_any_order_the_last_of_one_time_counts_and_nan_does_not():
    signal = Signal.of(np.array([3, 1, 1, 2]), np.array([30.0, 10.0, 11.0, np.nan]))
    assert signal.t_ns.tolist() == [1, 3] and signal.values.tolist() == [11.0, 30.0]


def test_a_signal_without_samples_is_unknown():
    assert np.isnan(Signal.of(np.zeros(0), np.zeros(0)).at(np.array([1, 2]))).all()


def test_a_pose_turns_the_short_way_at_unit_length():
    poses = np.array([[0, 0, 0, 1, 0, 0, 0], [2, 0, 0, -np.sqrt(0.5), 0, 0, -np.sqrt(0.5)]])
    middle = Signal.of(np.array([0, 10]), poses).at(np.array([5]))[0]
    np.testing.assert_allclose(middle, [1, 0, 0, np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)], atol=1e-6)


def test_the_kind_of_a_source_is_seen_from_its_files(make, tmp_path):
    tub = make.write_tub(tmp_path / "tub", [0, 50])
    assert isinstance(open_source(tub), DonkeySource)
    assert isinstance(open_source(make.pack(tub, tmp_path / "tub.tar.gz")), DonkeySource)
    assert isinstance(open_source(tmp_path), DonkeySource)
    assert isinstance(open_source(tub / "images"), ImageSource)
    video = make.write_video(tmp_path / "v.avi", 3)
    assert isinstance(open_source(video), VideoSource)


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("nowhere", {}, "no such file.*tub"),
        ("tub", {"rate": 20.0}, "no use for rate"),
        ("tub", {"rate": -1.0}, "rate = -1.0"),
        ("tub/manifest.json", {}, "no known format"),
    ],
)
def test_what_cannot_be_opened_is_named(make, tmp_path, address, options, message):
    make.write_tub(tmp_path / "tub", [0, 50])
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / address, **options)
