"""Waymo: both versions of one made segment, read alike and as the scene was made."""

import shutil

import numpy as np
import pytest

import small_sets as made
from roadcast.data.geometry import inverse, moved, project
from roadcast.data.sources.protobuf import Message
from roadcast.data.sources.tfrecord import RecordFile, crc32c
from roadcast.data.sources.waymo import WaymoSource, is_waymo
from roadcast.errors import UserError

pytest.importorskip("pyarrow")
WRITERS = {"tables": made.write_waymo_tables, "records": made.write_waymo_records}


@pytest.fixture(scope="module", params=WRITERS)
def segment(request, tmp_path_factory):
    """The folder of the segment, of either version."""
    return WRITERS[request.param](tmp_path_factory.mktemp("waymo") / "set")


@pytest.fixture
def recording(segment):
    (recording,) = WaymoSource(segment).recordings()
    return recording


def test_pictures_come_by_camera_at_the_middle_of_their_shutters(segment, recording):
    assert is_waymo(segment) and WaymoSource(segment).cameras == ("front", "front_left", "front_right")
    assert recording.name == made.SEGMENT
    moments = list(recording.frames())
    for n, (times, images) in enumerate(moments):
        expected = [made.T0_US / 1e6 + 0.1 * n + 0.04 + 0.01 * camera for camera in made.CAMERA_YAWS]
        assert np.abs(np.array(times) / 1e9 - expected).max() < 1e-6
        for camera, image in zip(made.CAMERA_YAWS, images, strict=True):
            assert np.abs(image[5, 5].astype(int) - (10 * n, 100, 20 * camera)).max() <= 2  # the file is BGR made
    assert len(moments) == 4


def test_motion_is_the_vehicles_own(recording):
    signals = recording.signals
    np.testing.assert_allclose(signals["velocity"].values, [[made.SPEED, 0, 0]] * 4, atol=1e-5)
    np.testing.assert_allclose(signals["angular_velocity"].values, [[0.1, 0, 0.2]] * 4, atol=1e-6)
    np.testing.assert_allclose(signals["speed"].values, made.SPEED, atol=1e-5)
    np.testing.assert_allclose(signals["yaw_rate"].values, 0.2, atol=1e-6)
    np.testing.assert_allclose(signals["curvature"].values, 0.2 / made.SPEED, atol=1e-6)
    pose = signals["ego_pose"].values
    np.testing.assert_allclose(pose[:, :3], [[0, 0.8 * n, 0] for n in range(4)], atol=1e-4)
    np.testing.assert_allclose(pose[:, 3:], [[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]] * 4, atol=1e-6)


def test_points_stand_still_although_the_vehicle_drives(recording):
    lidar, mount = recording.sensors["lidar_top"], np.array(recording.calibration["lidar_top"]["to_ego"])
    assert len(lidar.t_ns) == 4 and lidar.t_ns[1] == (made.T0_US + 150_000) * 1000
    for n in (2, 0, 3):
        cloud = lidar.read(n)
        assert cloud.dtype == np.float32 and (cloud[:, 3] == 1).all()  # intensity 3 is cut off
        seen = moved(moved(cloud[:, :3], mount), inverse(made.pose(0)) @ made.pose(n))
        off = np.linalg.norm(seen[:, None] - made.THINGS[None], axis=2)
        assert off.min(0).max() < 0.9  # a cell is 2 degrees wide and 3 high: 0.9 m at the farthest thing, 21 m away
        assert off.min(1).max() < 0.9


def test_a_point_ahead_is_in_the_middle_of_the_front_picture(recording):
    told = recording.calibration["front"]
    ahead = moved(np.array([[30.0, 0.0, 2.1]]), inverse(np.array(told["to_ego"])))
    np.testing.assert_allclose(project(ahead, told["intrinsics"]), [[47.5, 29.5]], atol=1e-6)
    left = moved(np.array([[30.0, 1.0, 3.1]]), inverse(np.array(told["to_ego"])))
    u, v = project(left, told["intrinsics"])[0]
    assert u < 47 and v < 29
    assert told["distortion"] == made.INTRINSIC[4:]
    yaw = np.array(recording.calibration["front_left"]["to_ego"])[:3, 2]
    np.testing.assert_allclose(yaw, [np.cos(0.8), np.sin(0.8), 0], atol=1e-9)


def test_boxes_are_the_vehicles(recording):
    boxes = recording.sensors["boxes"]
    assert boxes.classes[1] == "vehicle"
    first, last = boxes.read(0), boxes.read(3)
    np.testing.assert_allclose(first[0, :8], [10, 2, 0.5, 4.5, 1.9, 1.6, 0.1, 1], rtol=1e-6)
    assert last[0, 0] == 7 and last[0, 8] == first[0, 8] > 0


def test_a_picture_that_is_missing_cuts_the_recording(tmp_path):
    whole = made.waymo_frame(0)
    made.write_records(tmp_path / "s.tfrecord", [whole, made.waymo_frame(1, cameras=(1, 2)), made.waymo_frame(2)])
    (recording,) = WaymoSource(tmp_path).recordings()
    assert [images is None for _, images in recording.frames()] == [False, True, False]


def test_only_pictures_are_needed(tmp_path):
    made.write_waymo_tables(tmp_path)
    for table in ("lidar", "lidar_box", "camera_calibration"):
        shutil.rmtree(tmp_path / table)
    (recording,) = WaymoSource(tmp_path).recordings()
    assert not recording.sensors and not recording.calibration and len(list(recording.frames())) == 4


def test_points_without_poses_of_their_pixels_are_taken_as_they_are(tmp_path):
    made.write_waymo_tables(tmp_path, frames=1)
    shutil.rmtree(tmp_path / "lidar_pose")
    (recording,) = WaymoSource(tmp_path).recordings()
    cloud = recording.sensors["lidar_top"].read(0)
    seen = moved(cloud[:, :3], np.array(recording.calibration["lidar_top"]["to_ego"]))
    off = np.linalg.norm(seen[:, None] - made.THINGS[None], axis=2).min(1)
    assert 0.2 < off.max() < 1.3  # as much as the vehicle drove in half a turn, and the cell


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-10], "ends inside record 1"),
        (lambda data: data[:5], "record 0 at byte 0 has no valid head"),
        (lambda data: b"", "is empty"),
        (lambda data: b"x" + data[1:], "record 0 at byte 0 has no valid head"),
        (lambda data: data[:-6] + b"x" + data[-5:], "record 1 does not match its checksum"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    path = made.write_records(tmp_path / "s.tfrecord", [made.waymo_frame(0), made.waymo_frame(1)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"s.tfrecord.*{message}"):
        [list(recording.frames()) for recording in WaymoSource(path).recordings()]


def test_a_record_of_another_kind_is_refused(tmp_path):
    made.write_records(tmp_path / "a.tfrecord", [made.waymo_frame(0)])
    for n, record in enumerate((b"no message at all", made.message((1, 7)), made.message((4, made.message((1, 1)))))):
        made.write_records(tmp_path / f"b{n}.tfrecord", [record])
    first, *others = WaymoSource(tmp_path).recordings()
    assert len(list(first.frames())) == 1
    for other in others:
        with pytest.raises(UserError, match=f"{other.name}.tfrecord"):
            list(other.frames())


def test_a_table_that_is_cut_short_is_named(tmp_path):
    made.write_waymo_tables(tmp_path)
    path = tmp_path / "lidar_calibration" / f"{made.SEGMENT}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    (recording,) = WaymoSource(tmp_path).recordings()
    with pytest.raises(UserError, match=r"lidar_calibration.*parquet"):
        list(recording.frames())


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        (b"\0" * 32, 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_are_those_of_the_standard(data, crc):
    """RFC 3720, B.4, and the usual check value."""
    assert crc32c(data) == crc


@pytest.mark.parametrize("length", [1023, 1024, 1025, 5 * 1024 + 3, 7 * 1024, 8 * 1024])
def test_checksums_in_lanes_are_those_of_one_pass(length):
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


def test_messages_give_their_fields_and_refuse_what_is_none():
    inner = made.message((1, 300), (2, 1.5), (3, np.float32(0.25)), (4, b"name"), (4, b"last"))
    read = Message(memoryview(made.message((7, inner), (7, inner)))).messages(7)[1]
    assert (read.integer(1), read.double(2), read.float32(3), read.text(4)) == (300, 1.5, 0.25, "last")
    assert read.integers(1) == [300] and Message(memoryview(made.message((1, b"\x01\xac\x02")))).integers(1) == [1, 300]
    assert (read.integer(9), read.double(9), read.text(9), read.has(9), read.data(9)) == (0, None, "", False, None)
    for broken in (inner[:-1], b"\x80", b"\x0b", b"\xff" * 12):
        with pytest.raises(ValueError, match="byte"):
            Message(memoryview(broken))
    for wrong in (read.messages, read.doubles, read.data):
        with pytest.raises(ValueError, match="field 1"):
            wrong(1)
    with pytest.raises(ValueError, match="field 4"):
        read.integer(4)


def test_records_are_read_by_number(tmp_path):
    file = RecordFile(made.write_records(tmp_path / "r.tfrecord", [b"one", b"", b"three"]))
    assert [bytes(file.read(n)) for n in (2, 0, 1)] == [b"three", b"one", b""]
