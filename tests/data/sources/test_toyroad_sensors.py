"""toyroad's sensors: each as the contract has it, and in agreement with the pictures of depth."""

import numpy as np
import pytest

from roadcast.data.geometry import inverse, moved, project
from roadcast.data.sources.open import open_source
from roadcast.data.sources.toyroad import NEAREST
from roadcast.errors import UserError

ADDRESS = "toyroad:recordings=1,frames=7,seed=4,height=96,width=192,sensors=lidar+radar+depth"


@pytest.fixture(scope="module")
def recording():
    return next(open_source(ADDRESS).recordings())


def test_each_sensor_has_its_own_clock(recording):
    assert {name: sensor.kind for name, sensor in recording.sensors.items()} == {
        "lidar": "lidar",
        "radar": "radar",
        "depth": "image",
    }
    assert recording.sensors["lidar"].t_ns.tolist() == [n * 100_000_000 for n in range(4)]
    assert recording.sensors["radar"].t_ns.tolist() == [n * 50_000_000 for n in range(7)]


def test_points_lie_where_the_picture_is_as_deep(recording):
    """A disagreement between LiDAR and depth is at the edges of things alone: the camera sits lower than the LiDAR."""
    told = recording.calibration["front"]
    for n in (3, 0, 2):
        points = moved(recording.sensors["lidar"].read(n), np.array(recording.calibration["lidar"]["to_ego"]))
        seen = moved(points, inverse(np.array(told["to_ego"])))
        seen = seen[(seen[:, 2] > 3) & (seen[:, 2] < 15)]
        uv = np.rint(project(seen, told["intrinsics"])).astype(int)
        inside = (uv >= 0).all(1) & (uv[:, 0] < 192) & (uv[:, 1] < 96)
        depth = recording.sensors["depth"].read(2 * n)[uv[inside, 1], uv[inside, 0]]
        metres = 255 * NEAREST / np.maximum(depth, 1)
        assert inside.sum() > 100
        assert np.median(np.abs(metres / seen[inside, 2] - 1)) < 0.05


def test_radar_sees_the_road_come_nearer_as_fast_as_the_ego_drives(recording):
    speed = recording.signals["speed"].values
    for n in (5, 1):
        x, y, z, vx, vy = recording.sensors["radar"].read(n).T
        radial = (x * vx + y * vy) / np.hypot(x, y)
        ahead = np.abs(np.arctan2(y, x)) < 0.35
        assert (z == 0).all() and ahead.any() and (radial[ahead] < 0).any()
        np.testing.assert_allclose(vx * y, vy * x, atol=1e-3)  # along the ray
        standing = np.abs(radial + speed[n] * x / np.hypot(x, y)) < 0.6
        assert standing.mean() > 0.5


def test_readings_do_not_depend_on_the_order_they_are_asked_for(recording):
    again = next(open_source(ADDRESS).recordings())
    forwards = [recording.sensors["lidar"].read(n) for n in range(4)]
    backwards = [again.sensors["lidar"].read(n) for n in reversed(range(4))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not np.array_equal(forwards[0], forwards[3])


def test_a_sensor_that_is_not_there_is_named():
    with pytest.raises(UserError, match="no sensor 'sonar': use lidar, radar, depth"):
        open_source("toyroad:sensors=sonar")


def test_without_sensors_nothing_has_changed():
    plain = next(open_source("toyroad:recordings=1,frames=2,seed=4,height=32,width=64").recordings())
    assert plain.sensors == {} and set(plain.calibration) == {"front"}
