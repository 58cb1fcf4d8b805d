"""The metrics' benchmark: what it calls spoilt is spoilt, and what it calls rising rises."""

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_are_at_hand(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_a_stronger_distortion_leaves_less_of_the_video():
    from metrics_clips import FASTEST, FRAMES, STRENGTHS, spoil

    ramp = 4 * np.arange(FASTEST * FRAMES, dtype=np.uint8)
    wide = np.random.default_rng(0).integers(0, 60, (1, 1, 16, 16, 3), dtype=np.uint8)
    long = np.broadcast_to(ramp[None, :, None, None, None], (1, len(ramp), 16, 16, 3)) + wide
    for how, strengths in STRENGTHS.items():
        if how == "wrong steering":
            continue
        made = [spoil(long, how, strength).astype(float) for strength in strengths]
        errors = [np.abs(video - long[:, :FRAMES]).mean() for video in made]
        assert made[0].shape == long[:, :FRAMES].shape and 0 < errors[0] < errors[1] < errors[2], how


def test_wrong_steering_starts_at_the_same_place_and_leads_elsewhere():
    from metrics_clips import drive

    right, little, much = (drive(1, 8, wrong).astype(float) for wrong in (0.0, 0.2, 0.8))
    first, last = ([np.abs(video[f] - right[f]).mean() for video in (little, much)] for f in (0, 7))
    assert first[0] < last[0] < last[1] and first[1] < last[1]


def test_a_metric_rises_from_its_floor_on_or_is_named():
    from metrics_sanity import Row, faults

    table = {
        "good": Row({"blur": 0.0}, {"blur": [0.1, 0.2]}),
        "late": Row({"blur": 0.5}, {"blur": [0.1, 0.7]}),
        "frame Frechet": Row({"shuffle": 0.0}, {"shuffle": [0.0, 0.0]}),
    }
    assert faults(table) == ["late: blur"]
