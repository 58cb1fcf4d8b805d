"""What matches its checksum and still cannot be decoded is named."""

import dataclasses
import zlib

import numpy as np
import pytest

from roadcast.data.reel import check
from roadcast.data.reel.check import undecodable
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Sensor


@pytest.fixture
def sensed(make, tmp_path) -> Reel:
    """A reel of 12 frames with three LiDAR readings of two points and three radar pictures."""
    recording, t_ns = make.recording("a", 12), np.arange(3) * 100_000_000
    lidar = Sensor("lidar", ("x", "y", "z"), t_ns, lambda k: np.full((2, 3), k, np.float32))
    radar = Sensor("image", (), t_ns, lambda k: np.full((8, 8), k, np.uint8))
    recording = dataclasses.replace(recording, sensors={"lidar": lidar, "radar": radar})
    with ReelWriter(tmp_path / "reel", **make.SHAPE) as writer:
        writer.add(recording, "train")
    return Reel(tmp_path / "reel")


def faults(reel: Reel) -> list[str]:
    return list(undecodable(reel, lambda done, total: None))


def overwrite(index: np.ndarray, row: int, reel: Reel, data: bytes) -> None:
    """Put other bytes, which fit their checksum, in the place of a picture or reading."""
    changed, shard = np.array(index), reel.path / "shards/00000.bin"
    assert len(data) <= changed["length"][row]
    whole = bytearray(shard.read_bytes())
    start = int(changed["offset"][row])
    whole[start : start + len(data)] = data
    shard.write_bytes(whole)
    changed["length"][row], changed["crc32"][row] = len(data), zlib.crc32(data)
    (table,) = [p for p in reel.path.rglob("*.npy") if p.stat().st_size > 0 and same(np.load(p), index)]
    np.save(table, changed)


def same(array: np.ndarray, index: np.ndarray) -> bool:
    return array.dtype == index.dtype and array.shape == index.shape and (array == index).all()


def test_a_whole_reel_has_no_fault_and_all_of_it_is_looked_at(sensed, monkeypatch):
    monkeypatch.setattr(check, "BATCH", 5)
    told = []
    assert list(undecodable(sensed, lambda done, total: told.append((done, total)))) == []
    assert told == [(5, 18), (10, 18), (15, 18), (18, 18)]


def test_bytes_that_are_no_picture_are_named_by_recording_frame_and_camera(sensed):
    overwrite(sensed.index, 7, sensed, b"no picture")
    (fault,) = faults(Reel(sensed.path))
    assert "frame 7 of 'a', camera 'front': cannot be decoded" in fault


def test_a_picture_of_another_size_is_named_with_its_size(sensed):
    import cv2

    small = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes()
    overwrite(sensed.index, 3, sensed, small)
    (fault,) = faults(Reel(sensed.path))
    assert "frame 3 of 'a', camera 'front': is 8x16" in fault


@pytest.mark.parametrize("sensor", ["lidar", "radar"])
def test_a_reading_that_is_none_is_named(sensed, sensor):
    overwrite(sensed.sensors[sensor].index, 1, sensed, b"bytes")
    (fault,) = faults(Reel(sensed.path))
    assert f"reading 1 of sensor '{sensor}': cannot be decoded" in fault
