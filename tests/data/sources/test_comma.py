"""comma2k19: a made drive due north, read back."""

import shutil

import numpy as np
import pytest

import small_sets as made
from roadcast.data.sources.comma import CommaSource, is_comma
from roadcast.errors import UserError

pytest.importorskip("av")
ROUTE = "b0c9d2329ad1606b|2018-08-02--08-34-47"


@pytest.fixture(scope="module")
def chunk(tmp_path_factory):
    """Chunk_1 with one route of two segments."""
    path = tmp_path_factory.mktemp("comma") / "Chunk_1"
    made.write_comma_segment(path / ROUTE / "9", first=0, frames=6)
    made.write_comma_segment(path / ROUTE / "10", first=6, frames=6)
    return path


@pytest.fixture
def recording(chunk):
    (recording,) = CommaSource(chunk).recordings()
    return recording


def test_segments_of_a_route_are_one_recording_in_the_order_of_their_numbers(chunk, recording):
    for path in (chunk, chunk.parent, chunk / ROUTE, chunk / ROUTE / "9"):
        assert is_comma(path)
    assert not is_comma(chunk / ROUTE / "9" / "processed_log")
    assert recording.name == ROUTE.replace("|", "_")
    moments = list(recording.frames())
    np.testing.assert_allclose([t / 1e9 for t, _ in moments], 46408.5 + 0.05 * np.arange(12), atol=1e-6)
    grey = [image.mean() for _, image in moments]
    np.testing.assert_allclose(grey, 20 * np.arange(12), atol=3)
    assert moments[0][1].shape == (874, 1164, 3)
    (alone,) = CommaSource(chunk / ROUTE / "9").recordings()
    assert alone.name == recording.name and len(list(alone.frames())) == 6


def test_the_ego_goes_north_on_a_level_road(recording):
    pose = recording.signals["ego_pose"].values
    np.testing.assert_allclose(pose[:, :3], [[0, 0.5 * n, 0] for n in range(12)], atol=0.02)
    np.testing.assert_allclose(
        pose[0, 3:], [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=2e-3
    )  # x forward is north: y of the world
    np.testing.assert_allclose(recording.signals["velocity"].values, [[10, 0, 0]] * 12, atol=1e-3)


def test_the_cameras_pitch_is_found_from_the_way_the_car_goes(recording):
    to_ego = np.array(recording.calibration["front"]["to_ego"])
    np.testing.assert_allclose(
        to_ego[:3, 2], [np.cos(np.radians(3)), 0, -np.sin(np.radians(3))], atol=1e-6
    )  # it looks down
    np.testing.assert_allclose(to_ego[:3, 0], [0, -1, 0], atol=1e-6)


def test_logs_are_si_and_positive_left(recording):
    signals = recording.signals
    assert signals["steer"].values == pytest.approx(0.1) and signals["speed"].values == pytest.approx(10)
    np.testing.assert_allclose(signals["angular_velocity"].values[5], [0, 0, 0.2], atol=1e-3)
    assert signals["yaw_rate"].values == pytest.approx(0.2, abs=1e-3)
    assert signals["curvature"].values == pytest.approx(0.02, abs=1e-4)
    assert signals["acceleration"].values == pytest.approx(1.5, abs=0.05)
    np.testing.assert_allclose(signals["linear_acceleration"].values[5], [1.5, 0, 0], atol=0.05)  # gravity is taken off
    np.testing.assert_allclose(signals["gps"].values[0], [37.3, -121.9, 30], rtol=1e-6)


def test_a_log_that_is_missing_is_left_out(chunk, tmp_path):
    segment = shutil.copytree(chunk / ROUTE / "9", tmp_path / "r" / "9")
    for name in ("CAN", "GNSS"):
        shutil.rmtree(segment / "processed_log" / name)
    (recording,) = CommaSource(tmp_path).recordings()
    assert set(recording.signals) == {
        "ego_pose", "velocity", "angular_velocity", "yaw_rate", "curvature", "linear_acceleration", "acceleration",
    }  # fmt: skip


def test_a_film_that_gives_fewer_frames_than_it_should_is_refused(tmp_path):
    made.write_comma_segment(tmp_path / "r" / "0", frames=5, decoded=3)
    (recording,) = CommaSource(tmp_path).recordings()
    with pytest.raises(UserError, match=r"video.hevc: 3 frames decoded of 5"):
        list(recording.frames())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("video.hevc", None, "video.hevc: is missing"),
        ("global_pose/frame_times", b"", "frame_times: cannot be read"),
        ("global_pose/frame_positions", None, "frame_positions: cannot be read"),
        ("processed_log/IMU/gyro/value", b"\x93NUMPY\x01\0", "gyro/value: cannot be read"),
    ],
)
def test_a_bad_file_is_named(chunk, tmp_path, name, data, message):
    path = shutil.copytree(chunk / ROUTE / "9", tmp_path / "r" / "9") / name
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    (recording,) = CommaSource(tmp_path).recordings()
    with pytest.raises(UserError, match=message):
        list(recording.frames())


def test_arrays_that_do_not_match_are_refused(chunk, tmp_path):
    segment = shutil.copytree(chunk / ROUTE / "9", tmp_path / "r" / "9")
    made.save(segment / "global_pose" / "frame_velocities", np.zeros((3, 3)))
    (recording,) = CommaSource(tmp_path).recordings()
    with pytest.raises(UserError, match="frame_velocities has not one row"):
        list(recording.frames())
