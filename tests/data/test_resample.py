"""Constant rate without made-up frames, and cuts where the camera paused."""

from collections import Counter

import numpy as np
import pytest

from roadcast.data.resample import at_rate, resample


def brought(times, fps):
    dropped = Counter()
    out = list(at_rate([(t, np.array(n)) for n, t in enumerate(times)], fps, dropped))
    return [int(image) for _, image, _ in out], sum(repeated for *_, repeated in out), dropped.total()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("true_rate", [20.0, 19.97, 20.03])
def test_a_jittered_camera_of_the_same_rate_passes_one_to_one(seed, true_rate):
    times = np.arange(600) * 1e9 / true_rate + np.random.default_rng(seed).uniform(-5e6, 5e6, 600)
    chosen, repeats, skips = brought(times.astype(int).tolist(), 20.0)
    assert repeats + skips <= 2, "only the drift of the clocks is made up for, not the jitter"
    assert len(chosen) == pytest.approx(600, abs=2)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (40, 20, [0, 2, 4, 6, 8]),
        (30, 20, [0, 1, 3, 4, 6, 7, 9]),
        (25, 20, [0, 1, 2, 4, 5, 6, 7, 9]),
        (10, 20, [0, 0, 1, 1, 2, 2, 3]),
    ],
)
def test_rates_are_brought_down_by_skipping_and_up_by_repeating(source, target, expected):
    times = [round(k * 1e9 / source) for k in range(10)]
    assert brought(times, target)[0][: len(expected)] == expected


def test_every_frame_is_near_its_tick_and_time_never_goes_back():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([20e6, 33e6, 50e6, 66e6, 120e6], 500)).astype(int)
    out = list(at_rate([(int(t), np.zeros(1)) for t in times], 20.0, Counter()))
    off = np.array([t for t, _, _ in out]) - (times[0] + np.round(np.arange(len(out)) * 50e6))
    fresh = np.array([not repeated for *_, repeated in out])
    assert (np.diff([t for t, _, _ in out]) >= 0).all()
    assert off[fresh].max() <= 25e6 and off.min() > -120e6 - 25e6
    assert len(out) <= (times[-1] - times[0]) / 50e6 + 2, "nothing is made up after the last frame"


def test_gaps_missing_pictures_and_clock_steps_cut_and_repeated_times_do_not():
    image, ms = np.zeros(1), 10**6
    times = [0, 50, 50, 40, 100, 150, 1000, 1050, None, 1150, 1200, 300, 350]
    dropped = Counter()
    frames = [(0, None) if t is None else (t * ms, image) for t in times]
    runs = [(run, t // ms) for run, t, _, _ in resample(frames, 20.0, 0.3, dropped)]
    assert runs == [(0, 0), (0, 50), (0, 100), (0, 150), (1, 1000), (1, 1050), (2, 1150), (2, 1200), (3, 300), (3, 350)]
    assert sorted(dropped.values()) == [1, 2]
