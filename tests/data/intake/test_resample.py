"""Constant rate without made-up frames, and cuts where the camera paused."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadcast.data.intake.resample import at_rate, resample


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


STEPS_MS = st.one_of(st.integers(1, 400), st.sampled_from([0, -40, 33, 50, 100, 5000, -5000]))


@given(st.lists(st.tuples(STEPS_MS, st.booleans()), max_size=120), st.sampled_from([5.0, 12.5, 20.0, 30.0]))
def test_whatever_a_clock_does_no_frame_is_made_up_lost_untold_or_out_of_order(steps, fps):
    """Steps of the clock, with frames that repeat, go back, pause, and are missing."""
    times, frames = 0, []
    for n, (step, missing) in enumerate(steps):
        times += step * 10**6
        frames.append((times, None if missing and n % 5 == 0 else np.array(n)))
    dropped = Counter()
    out = list(resample(frames, fps, 0.3, dropped))
    given_at = {int(image): t for t, image in frames if image is not None}
    assert all(given_at[int(image)] == t for _, t, image, _ in out), "every picture keeps its own time"
    fresh = [int(image) for _, _, image, repeated in out if not repeated]
    assert fresh == sorted(set(fresh)) and len(fresh) + dropped.total() == len(frames), "all frames are accounted for"
    for before, after in itertools.pairwise(out):
        if before[0] == after[0]:
            assert (after[2] is before[2]) == after[3] and after[1] - before[1] >= 0, "a repeat shows the one before"
            assert after[3] or after[1] - before[1] > 0
        else:
            assert after[0] == before[0] + 1 and not after[3], "runs are counted, and begin with a fresh frame"


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.sampled_from([5.0, 20.0, 30.0]))
def test_pictures_of_any_rate_stay_near_their_ticks(steps_ms, fps):
    times = (np.cumsum(steps_ms) * 10**6).tolist()
    out = list(at_rate([(t, np.zeros(1)) for t in times], fps, Counter()))
    ticks = times[0] + np.arange(len(out)) * 1e9 / fps
    late = np.array([t for t, *_ in out]) - ticks
    assert late.max() <= 0.5e9 / fps + 1, "no picture is more than half a period ahead of its tick"
    assert len(out) <= (times[-1] - times[0]) * fps / 1e9 + 2, "none is made up after the last"
    shown = np.array([times.index(t) for t, *_ in out])
    newest = np.searchsorted(times, ticks[1:] + 0.25e9 / fps - 1, "right") - 1
    assert (shown[1:] >= newest).all(), (
        "no picture is shown when a newer one was there a quarter of a period after the tick"
    )
