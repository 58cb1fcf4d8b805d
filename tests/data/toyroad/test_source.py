"""The toy world as a source of recordings."""

import numpy as np
import pytest

from roadcast.data.actions import ACTIONS
from roadcast.data.sources.open import open_source
from roadcast.data.sources.toyroad import ToyroadSource
from roadcast.errors import UserError


def test_recordings_are_whole_and_the_same_every_time():
    source = ToyroadSource(recordings=2, frames=12, seed=3, height=32, width=64)
    first, second = source.recordings()
    again = next(ToyroadSource(recordings=1, frames=12, seed=3, height=32, width=64).recordings())
    assert first.name == again.name != second.name
    assert set(first.signals) == set(ACTIONS) | {"ego_pose"}
    frames, repeated = list(first.frames()), list(again.frames())
    assert [t for t, _ in frames] == [i * 50_000_000 for i in range(12)]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames, repeated, strict=True))
    for name, signal in first.signals.items():
        assert signal.values.dtype == np.float32 and len(signal.values) == len(frames)
        assert np.isfinite(signal.values).all()
        assert np.array_equal(signal.values, again.signals[name].values)


def test_signals_agree_with_each_other():
    recording = next(ToyroadSource(recordings=1, frames=100, seed=1, height=32, width=64).recordings())
    values = {name: signal.values.astype(np.float64) for name, signal in recording.signals.items()}
    pose = values["ego_pose"]
    yaw = np.unwrap(2 * np.arctan2(pose[:, 6], pose[:, 3]))
    assert np.allclose(np.diff(yaw) * 20, values["yaw_rate"][1:], atol=1e-3)
    assert np.allclose(np.diff(values["speed"]) * 20, values["acceleration"][1:], atol=1e-3)
    travelled = np.hypot(*np.diff(pose[:, :2], axis=0).T) * 20
    assert np.allclose(travelled, (values["speed"][1:] + values["speed"][:-1]) / 2, rtol=1e-3, atol=2e-3)
    for name in ("steer", "throttle", "brake"):
        assert values[name].min() >= ACTIONS[name].low and values[name].max() <= ACTIONS[name].high


def test_address_with_several_cameras():
    source = open_source("toyroad:recordings=1,frames=2,seed=0,height=32,width=64,cameras=front+left,weather=fog")
    recording = next(source.recordings())
    assert source.cameras == ("front", "left") == tuple(recording.calibration)
    _, images = next(recording.frames())
    assert len(images) == 2 and images[0].shape == (32, 64, 3) and not np.array_equal(*images)


def test_wrong_options_are_named():
    with pytest.raises(UserError, match="frames"):
        ToyroadSource(frames=0)
    with pytest.raises(UserError, match="hail"):
        ToyroadSource(weather="hail")
