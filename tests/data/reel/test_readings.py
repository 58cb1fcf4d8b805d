"""Readings of sensors come back bit for bit, at their own times, and damage in them is named."""

import numpy as np
import pytest

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Sensor
from roadcast.errors import UserError

FIELDS = ("x", "y", "z", "intensity")


def points(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(100 + n, 4)).astype(np.float32)


def radar(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 255, (31, 17), dtype=np.uint8)


@pytest.fixture
def sensed(make, tmp_path) -> Reel:
    """Recordings a (LiDAR at 10 Hz and a radar picture at 4 Hz) and b (no sensors), of 30 and 20 frames at 20 Hz."""
    a = make.recording("a", 30)
    lidar_ns, radar_ns = np.arange(-5, 40) * 100_000_000, np.arange(20) * 250_000_000 + 3
    a.sensors = {
        "lidar": Sensor("lidar", FIELDS, lidar_ns, lambda n: None if n == 7 else points(n)),
        "radar": Sensor("image", (), radar_ns, radar),
    }
    a.calibration = {"lidar": {"to_ego": np.eye(4).tolist()}}
    with ReelWriter(tmp_path / "sensed", **make.SHAPE) as writer:
        writer.add(make.recording("b", 20, start=100), "val")
        writer.add(a, "train")
    return Reel(tmp_path / "sensed")


def test_readings_in_the_time_of_the_pictures_come_back_bit_for_bit(sensed):
    lidar, radars = sensed.sensors["lidar"], sensed.sensors["radar"]
    assert list(lidar.of(0)) == [] and [int(t) for t in lidar.t_ns] == [n * 100_000_000 for n in range(16) if n != 2]
    for row in lidar.of(1):
        np.testing.assert_array_equal(lidar.read(row), points(int(lidar.t_ns[row]) // 100_000_000 + 5))
    assert lidar.fields == FIELDS and lidar.kind == "lidar" and len(radars) == 7
    np.testing.assert_array_equal(radars.read(3), radar(3))
    assert sensed.verify() == []


def test_a_table_is_a_view_of_the_memory_map(sensed):
    reading = sensed.sensors["lidar"].read(0)
    assert not reading.flags.owndata and not reading.flags.writeable and reading.flags.aligned


def test_the_nearest_reading_is_found_or_none(sensed):
    lidar = sensed.sensors["lidar"]
    assert int(lidar.t_ns[lidar.nearest(1, 430_000_000)]) == 400_000_000
    assert int(lidar.t_ns[lidar.nearest(1, 10**12)]) == 1_500_000_000
    assert lidar.nearest(1, 10**12, within_ns=10**9) is None and lidar.nearest(0, 0) is None


def test_a_damaged_reading_is_named_and_never_served(sensed):
    lidar = sensed.sensors["lidar"]
    row = lidar.index[4]
    shard = sensed.path / "shards" / "00001.bin"
    data = bytearray(shard.read_bytes())
    data[int(row["offset"]) + 9] ^= 1
    shard.write_bytes(data)
    again = Reel(sensed.path)
    with pytest.raises(UserError, match=rf"00001\.bin: reading 4 of sensor 'lidar', offset {row['offset']}"):
        again.sensors["lidar"].read(4)
    assert len(again.verify()) == 1


def test_sensors_of_one_name_must_be_alike(make, tmp_path):
    recordings = {"a": make.recording("a", 5), "b": make.recording("b", 5)}
    for name, fields in (("a", FIELDS), ("b", FIELDS[:3])):
        sensor = Sensor("lidar", fields, np.array([0]), lambda n, fields=fields: points(n)[:, : len(fields)])
        recordings[name].sensors = {"lidar": sensor}
    with ReelWriter(tmp_path / "r", **make.SHAPE) as writer:
        for recording in recordings.values():
            writer.add(recording)
        with pytest.raises(UserError, match=r"x y z intensity.*x y z.*'b'"):
            writer.finish()
        writer.finished = True


def test_an_unknown_kind_of_sensor_is_refused(make, tmp_path):
    recording = make.recording("a", 5)
    recording.sensors = {"nose": Sensor("smell", ("x",), np.array([0]), points)}
    with pytest.raises(UserError, match=r"'smell'.*lidar"), ReelWriter(tmp_path / "r", **make.SHAPE) as writer:
        writer.add(recording)
