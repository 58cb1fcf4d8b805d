"""Speed and turning follow from a path and give it back; what is unknown stays unknown, what is measured stays as it was."""

import numpy as np
import pytest

from roadcast.data.geometry import relative
from roadcast.data.signals.egomotion import composed, dead_reckoning, derived, motion_of
from roadcast.data.sources.base import Signal
from roadcast.data.sources.toyroad import ToyroadSource


def _times(count: int, fps: float = 20.0) -> np.ndarray:
    return np.rint(np.arange(count) * 1e9 / fps).astype(np.int64)


def _circle(count: int, speed: float, yaw_rate: float, fps: float = 20.0, jitter: float = 0.0):
    """Times and poses of a drive on a circle."""
    t = np.arange(count) / fps
    t[1:-1] += jitter / fps * np.random.default_rng(0).uniform(-0.4, 0.4, count - 2)
    yaw, radius = 1.0 + yaw_rate * t, speed / yaw_rate
    pose = np.zeros((count, 7))
    pose[:, 0], pose[:, 1] = 50 + radius * np.sin(yaw), 9 - radius * np.cos(yaw)
    pose[:, 3], pose[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    return np.rint(t * 1e9).astype(np.int64), pose


@pytest.fixture(scope="module")
def drive() -> dict[str, Signal]:
    """The true signals of a toy drive, which steers, brakes and leaves the road."""
    (recording,) = ToyroadSource(recordings=1, frames=400, seed=4, height=32, width=64).recordings()
    return recording.signals


@pytest.mark.parametrize(
    ("speed", "yaw_rate", "fps", "jitter"), [(8, 0.4, 20, 0), (8, -0.4, 20, 1), (-2, 0.3, 10, 1), (5, 1.2, 20, 0)]
)
def test_a_circle_has_its_speed_and_turning_at_every_sample(speed, yaw_rate, fps, jitter):
    t_ns, pose = _circle(100, speed, yaw_rate, fps, jitter)
    found = motion_of(t_ns, pose)
    assert np.allclose(found["speed"], speed, rtol=0.02)
    assert np.allclose(found["yaw_rate"], yaw_rate, rtol=1e-3)
    assert np.allclose(found["curvature"], yaw_rate / speed, rtol=0.02)
    assert np.abs(found["acceleration"]).max() < 0.25 * abs(speed * yaw_rate)


def test_noise_in_the_place_is_smoothed():
    t_ns, pose = _circle(400, 8.0, 0.2)
    pose[:, :2] += np.random.default_rng(1).normal(0, 0.01, (400, 2))
    plain = np.linalg.norm(np.diff(pose[:, :2], axis=0), axis=1) * 20
    assert np.std(motion_of(t_ns, pose)["speed"] - 8) < 0.3 * np.std(plain - 8)


def test_a_standing_car_has_no_curvature_and_no_speed():
    found = motion_of(_times(30), np.tile([3.0, 4, 0, 1, 0, 0, 0], (30, 1)))
    assert np.isnan(found["curvature"]).all()
    assert np.abs(found["speed"]).max() < 1e-6 and np.abs(found["acceleration"]).max() < 1e-6


def test_nothing_is_taken_across_what_is_unknown_or_a_gap():
    t_ns, pose = _circle(60, 8.0, 0.4)
    pose[20] = np.nan
    pose[21:, 0] += 100
    t_ns[40:] += 60_000_000_000
    pose[40:, 1] -= 500
    found = motion_of(t_ns, pose)
    assert np.isnan(found["speed"][20]) and np.isnan(found["acceleration"][20])
    assert np.allclose(np.delete(found["speed"], 20), 8, rtol=0.02)
    assert np.isnan(motion_of(t_ns[:1], pose[:1])["speed"]).all()


def test_the_path_of_a_toy_drive_gives_its_true_signals(drive):
    pose = drive["ego_pose"]
    found = motion_of(pose.t_ns, pose.values)
    for name, tolerance in (("speed", 0.05), ("yaw_rate", 0.05), ("curvature", 0.01), ("acceleration", 0.8)):
        # a toy step's motion is that of the frame interval before: it is met half a frame earlier
        true = (drive[name].values[1:] + drive[name].values[:-1])[3:-3] / 2
        error = found[name][:-1][3:-3] - true
        assert np.sqrt(np.nanmean(error**2)) < tolerance, name


def test_a_path_comes_back_from_its_relative_motions(drive):
    pose = drive["ego_pose"].values.astype(np.float64)
    steps = relative(pose)
    back = composed(steps, pose[0])
    assert np.abs(back[:, :3] - pose[:, :3]).max() < 1e-6
    assert np.abs(np.abs(np.sum(back[:, 3:] * pose[:, 3:], 1)) - 1).max() < 1e-6
    assert np.allclose(relative(composed(steps)), steps, atol=1e-9)
    steps[7] = np.nan
    cut = composed(steps, pose[0])
    assert np.isfinite(cut[:7]).all() and np.isnan(cut[7:]).all()


def test_dead_reckoning_drives_circles_exactly_and_a_toy_drive_nearly(drive):
    t_ns, pose = _circle(200, 8.0, 0.4, jitter=1)
    found = dead_reckoning(
        Signal(t_ns, np.full(200, 8, np.float32)), Signal(_times(400) - 10**9, np.full(400, 0.4, np.float32))
    )
    assert np.allclose(relative(found.values)[1:], relative(pose)[1:], atol=1e-4)

    true = drive["ego_pose"].values.astype(np.float64)
    path = dead_reckoning(drive["speed"], drive["yaw_rate"])
    length = np.linalg.norm(np.diff(true[:, :2], axis=0), axis=1).sum()
    from_start = relative(np.stack([true[0], true[-1]]))[1]
    assert np.linalg.norm(path.values[-1, :2] - from_start[:2]) < 0.05 * length
    assert len(dead_reckoning(drive["speed"], Signal(t_ns[:0], np.zeros(0, np.float32))).t_ns) == 0


def test_missing_actions_are_added_from_the_pose_and_nothing_is_replaced(drive):
    odd = Signal(drive["speed"].t_ns, drive["speed"].values + 1)
    full = derived({"ego_pose": drive["ego_pose"], "speed": odd, "steer": drive["steer"]})
    assert full["speed"] is odd and full["steer"] is drive["steer"]
    assert set(full) == {"ego_pose", "speed", "steer", "yaw_rate", "curvature", "acceleration"}
    expected = motion_of(drive["ego_pose"].t_ns, drive["ego_pose"].values)["yaw_rate"]
    assert np.array_equal(full["yaw_rate"].values, expected)
    given = dict(drive)
    assert derived(given) == given


def test_measured_rates_come_before_the_pose():
    t_ns, pose = _circle(50, 8.0, 0.4)
    signals = {
        "ego_pose": Signal(t_ns, pose.astype(np.float32)),
        "velocity": Signal(t_ns, np.tile(np.float32([-3, 0, 4]), (50, 1))),
        "angular_velocity": Signal(t_ns, np.tile(np.float32([1, 2, 0.5]), (50, 1))),
        "linear_acceleration": Signal(t_ns, np.tile(np.float32([0.7, 2, 9]), (50, 1))),
    }
    full = derived(signals)
    assert np.allclose(full["speed"].values, -5) and np.allclose(full["yaw_rate"].values, 0.5)
    assert np.allclose(full["acceleration"].values, 0.7) and np.allclose(full["curvature"].values, -0.1)


def test_turning_follows_from_curvature_and_speed_and_back():
    t_ns = _times(50)
    speed = Signal(t_ns, np.linspace(0, 9.8, 50).astype(np.float32))
    turned = derived({"speed": speed, "curvature": Signal(t_ns, np.full(50, 0.1, np.float32))})
    assert np.allclose(turned["yaw_rate"].values, 0.1 * speed.values, atol=1e-6)
    assert np.allclose(turned["acceleration"].values, 4.0, atol=1e-3)
    bent = derived({"speed": speed, "yaw_rate": turned["yaw_rate"]})["curvature"]
    assert np.allclose(bent.values, 0.1, atol=1e-6) and bent.t_ns[0] == t_ns[2], "at 0 and 0.2 m/s it is unknown"


def test_an_empty_pose_adds_nothing():
    empty = Signal(np.zeros(0, np.int64), np.zeros((0, 7), np.float32))
    assert derived({"ego_pose": empty}) == {"ego_pose": empty}
    assert derived({}) == {}


def test_a_real_drive_agrees_with_its_own_instruments(shared_data):
    folder = shared_data / "kitti" / "2011_09_26" / "2011_09_26_drive_0013_sync" / "oxts"
    rows = np.array([path.read_text().split() for path in sorted((folder / "data").glob("*.txt"))], np.float64)
    stamps = [line for line in (folder / "timestamps.txt").read_text().splitlines() if line]
    t_ns = np.array([np.datetime64(stamp.replace(" ", "T"), "ns").astype(np.int64) for stamp in stamps])
    lat, lon, alt, roll, pitch, yaw = rows[:, :6].T
    metres = np.radians(1) * 6_378_137
    x, y = (lon - lon[0]) * metres * np.cos(np.radians(lat[0])), (lat - lat[0]) * metres
    cr, sr, cp, sp, cy, sy = (f(angle / 2) for angle in (roll, pitch, yaw) for f in (np.cos, np.sin))
    q = [
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    ]
    found = motion_of(t_ns, np.stack([x, y, alt - alt[0], *q], 1))
    errors = {
        "speed": found["speed"] - rows[:, 8],
        "yaw_rate": found["yaw_rate"] - rows[:, 22],
        "acceleration": found["acceleration"] - rows[:, 14],
    }
    rms = {name: float(np.sqrt(np.nanmean(error**2))) for name, error in errors.items()}
    print(rms, {n: float(np.std(rows[:, c])) for n, c in (("speed", 8), ("yaw_rate", 22), ("acceleration", 14))})
    assert rms["speed"] < 0.2 and rms["yaw_rate"] < 0.01 and rms["acceleration"] < 0.5
