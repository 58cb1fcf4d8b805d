"""The lag from command to picture is found to a fraction of a frame, and steering of the wrong sign is told, never guessed."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.signals.alignment import (
    Stretch,
    image_motion,
    latency,
    recording_stretches,
    reel_stretches,
    sign_warnings,
)
from roadcast.data.sources.base import Recording, Signal
from roadcast.data.sources.open import open_source

FPS = 20.0


def _wander(seconds: float, seed: int, fps: float = 200.0) -> Signal:
    """A smooth random command, about a second long in its bends."""
    rng = np.random.default_rng(seed)
    n = round(seconds * fps)
    kernel = np.hanning(round(fps))
    values = np.convolve(rng.normal(size=n + len(kernel)), kernel, "same")[:n]
    return Signal(np.rint(np.arange(n) * 1e9 / fps).astype(np.int64), (values / values.std()).astype(np.float32))


def _answer(command: Signal, seconds: float, lag: float, noise: float, seed: int, fps: float = FPS) -> Stretch:
    """Motion that follows the command after `lag` seconds, at the middle of each pair of frames."""
    t_ns = np.rint(np.arange(round(seconds * fps)) * 1e9 / fps).astype(np.int64)
    midway = t_ns - round(0.5e9 / fps) - round(lag * 1e9)
    motion = command.at(np.clip(midway, 0, None)).astype(np.float64)
    motion += noise * np.random.default_rng(seed).normal(size=len(motion))
    motion[0] = np.nan
    return Stretch(t_ns, motion, command)


@pytest.mark.parametrize(("lag", "fps"), [(0.175, 20.0), (0.16, 20.0), (0.0, 20.0), (-0.12, 30.0), (0.37, 10.0)])
def test_a_known_lag_is_found_within_a_fifth_of_a_frame(lag, fps):
    command = _wander(120, 1)
    result = latency([_answer(command, 100, lag, 0.3, 2, fps)])
    assert abs(result.lag - lag) < 0.2 / fps
    assert result.low <= lag + 0.1 / fps and result.high >= lag - 0.1 / fps and result.high - result.low < 2 / fps
    assert result.correlation > 0.9 and result.p <= 0.01 and result.clear


def test_commands_of_another_drive_are_not_taken_for_an_answer():
    results = [
        latency([replace(_answer(_wander(70, seed), 60, 0.2, 0.1, 0), command=_wander(70, 100 + seed))])
        for seed in range(40)
    ]
    assert not any(result.clear for result in results)
    assert np.mean([result.p <= 0.1 for result in results]) < 0.25


def test_laps_of_one_track_are_evidence_all_the_same():
    lap = _wander(12, 5)
    t_ns = np.concatenate([lap.t_ns + n * 12_000_000_000 for n in range(10)])
    command = Signal(t_ns, np.tile(lap.values, 10))
    result = latency([_answer(command, 115, 0.2, 0.5, 6)])
    assert result.clear and abs(result.lag - 0.2) < 0.02


def test_a_command_that_never_changes_tells_nothing():
    stretch = _answer(_wander(70, 1), 60, 0.2, 0.1, 0)
    still = replace(stretch, command=Signal(stretch.command.t_ns, np.ones_like(stretch.command.values)))
    result = latency([still])
    assert np.isnan(result.lag) and result.correlation == 0 and not result.clear
    assert np.isnan(latency([]).lag) and not latency([]).clear


def test_the_sign_is_told_of_one_recording_with_the_remedy_and_not_of_the_others():
    good = [_answer(_wander(70, 1), 60, 0.2, 0.3, 0)]
    bad = [replace(good[0], command=good[0].command.negative())]
    short = [replace(bad[0], t_ns=bad[0].t_ns[:90], motion=bad[0].motion[:90])]
    (line,) = sign_warnings({"good": good, "bad": bad, "short": short})
    assert line.startswith("bad: ") and "correlation -0.9" in line and "--invert steer" in line and "\n" not in line
    assert sign_warnings({"good": good, "short": short}) == []


def test_short_recordings_are_judged_together():
    signals = [_wander(12, seed) for seed in range(8)]
    bad = {f"r{n}": [_answer(s.negative(), 10, 0.2, 0.3, n)] for n, s in enumerate(signals)}
    turned = {name: [replace(s[0], command=s[0].command.negative())] for name, s in bad.items()}
    assert sign_warnings(bad) == []
    (line,) = sign_warnings(turned)
    assert line.startswith("8 recordings (r0 ...)")


def _views(shifts: list[float], height: int = 96, width: int = 160) -> list[np.ndarray]:
    """Views of one broad picture, each moved right by so many pixels more than the one before."""
    rng = np.random.default_rng(0)
    broad = cv2.GaussianBlur(rng.integers(0, 256, (height, 400), np.uint8), (0, 0), 4)
    broad = cv2.normalize(broad, None, 0, 255, cv2.NORM_MINMAX)
    places = 120 - np.cumsum(shifts)
    return [
        cv2.cvtColor(cv2.getRectSubPix(broad, (width, height), (width / 2 + x, height / 2)), cv2.COLOR_GRAY2RGB)
        for x in places
    ]


def test_motion_is_in_widths_a_second_positive_to_the_right():
    shifts = [0.0, 4.0, 4.0, -4.0, 2.0, 0.5]
    t_ns = np.arange(6) * 50_000_000
    motion = image_motion(t_ns, _views(shifts))
    assert np.isnan(motion[0])
    assert np.allclose(motion[1:], np.array(shifts[1:]) / 160 * 20, atol=0.06)


def test_a_repeated_picture_gives_no_motion_and_the_next_is_counted_over_the_whole_time():
    views = _views([0.0, 4.0, 0.0, 8.0])
    motion = image_motion(np.arange(4) * 50_000_000, [views[0], views[1], views[1], views[3]])
    assert np.isnan(motion[2]) and np.isclose(motion[3], 8 / 160 * 10, atol=0.06)


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[bool, Reel]:
    """The same toy drives, with steering as it was and inverted."""
    made = {}
    for wrong in (False, True):
        path = tmp_path_factory.mktemp("toys") / "reel"
        address = "toyroad:recordings=5,frames=200,seed=1,height=48,width=96"
        ingest(address, path, height=48, width=96, invert=("steer",) if wrong else ())
        made[wrong] = Reel(path)
    return made


def test_toyroad_answers_at_once_and_with_the_right_sign(toys):
    for command in ("steer", "yaw_rate", "curvature"):
        own = reel_stretches(toys[False], command)
        assert len(own) == 5
        result = latency([stretch for one in own.values() for stretch in one])
        assert result.clear and result.correlation > 0.7
        assert abs(result.lag + 0.5 / FPS) < 0.01, "a toy command acts over the step that ends with its frame"
    assert sign_warnings(reel_stretches(toys[False])) == []


def test_toyroad_with_steering_inverted_is_told(toys):
    (line,) = sign_warnings(reel_stretches(toys[True]))
    assert "5 recordings" in line and "--invert steer" in line


def test_a_reel_without_the_command_gives_no_stretches(toys):
    assert reel_stretches(toys[False], "velocity") == {}
    assert sign_warnings({}) == []


def test_a_recording_is_cut_where_pictures_are_missing():
    views = _views([0.0] + [1.0] * 39)
    frames = [(n * 50_000_000 + (2_000_000_000 if n > 29 else 0), view) for n, view in enumerate(views)]
    holed = [(t, None if n == 10 else view) for n, (t, view) in enumerate(frames)]
    recording = Recording("r", "made", lambda: iter(holed), {"steer": _wander(10, 0)})
    assert [len(s.t_ns) for s in recording_stretches(recording)] == [10, 19, 10]
    assert recording_stretches(recording, "yaw_rate") == []


def test_a_real_car_that_steers_the_other_way_is_caught(shared_data):
    (recording,) = open_source(shared_data / "donkey" / "elsewhere.tar.gz").recordings()
    own = recording_stretches(recording)
    result = latency(own)
    assert result.correlation < -0.6 and 0.1 < result.lag < 0.25
    assert sign_warnings({"elsewhere": own})[0].startswith("elsewhere: ")


@pytest.mark.slow
def test_real_cars_steer_about_a_fifth_of_a_second_ahead_and_only_one_the_wrong_way(shared_data, tmp_path):
    ingest(shared_data / "donkey", tmp_path / "tubs", height=60, width=80)
    own = reel_stretches(Reel(tmp_path / "tubs"))
    found = {name: latency(stretches) for name, stretches in own.items()}
    assert set(found) == {"track_a", "track_b", "workshop", "outdoor", "elsewhere"}
    for result in found.values():
        assert 0.12 < result.lag < 0.25 and abs(result.correlation) > 0.55
    (line,) = sign_warnings(own)
    assert line.startswith("elsewhere: ")
