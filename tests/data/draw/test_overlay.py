"""What a reel knows of a moment is in its picture: the LiDAR of the toy world lands on what its camera sees."""

import dataclasses

import numpy as np
import pytest

from roadcast.data.draw import in_picture
from roadcast.data.draw.canvas import ORANGE
from roadcast.data.draw.overlay import Overlay
from roadcast.data.geometry import inverse, moved, project
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording, Sensor
from roadcast.data.sources.toyroad import NEAREST, ToyroadSource

SHAPE = {"fps": 20.0, "height": 96, "width": 192}
BOX_FIELDS = tuple("x y z length width height yaw class track".split())


def write(path, sensors: str, cameras: str = "front", change=lambda recording: recording) -> Reel:
    """A reel of one drive of 12 frames in the toy world, with the calibration that its source gives."""
    source = ToyroadSource(recordings=1, frames=12, cameras=cameras, sensors=sensors, weather="clear", **SHAPE)
    with ReelWriter(path, **SHAPE, cameras=source.cameras) as writer:
        writer.add(change(next(iter(source.recordings()))), "train")
    return Reel(path)


@pytest.fixture(scope="module")
def sensed(tmp_path_factory) -> Reel:
    return write(tmp_path_factory.mktemp("overlay") / "reel", "lidar+radar+depth")


@pytest.fixture
def drawn(monkeypatch) -> list[np.ndarray]:
    """Points of the camera's frame that were drawn into pictures."""
    points = []
    real = in_picture.draw_points
    monkeypatch.setattr(
        "roadcast.data.draw.overlay.draw_points", lambda image, p, *rest: points.append(p) or real(image, p, *rest)
    )
    return points


@pytest.mark.parametrize("moment", [4, 5])
def test_lidar_in_the_picture_has_the_depth_of_the_picture(sensed, drawn, moment):
    """Moment 5 has no LiDAR reading of its own: that of moment 4 or 6 must be moved by what the ego drove in between."""
    Overlay(sensed, 0).draw(moment)
    camera = drawn[0]
    entry = sensed.videos[0].calibration["front"]
    near = camera[(camera[:, 2] > 3) & (camera[:, 2] < 30)]
    u, v = np.rint(project(near, np.array(entry["intrinsics"]))).astype(int).T
    inside = (u >= 0) & (u < 192) & (v >= 0) & (v < 96)
    table = sensed.sensors["depth"]
    depth = 255 * NEAREST / np.maximum(table.read(table.of(0)[moment]), 1)
    ratio = near[inside, 2] / depth[v[inside], u[inside]]
    assert inside.sum() > 100 and np.mean(np.abs(ratio - 1) < 0.12) > 0.85


def test_a_reading_between_two_moments_is_moved_with_the_ego(sensed, drawn):
    overlay = Overlay(sensed, 0)
    overlay.draw(5)
    table = sensed.sensors["lidar"]
    number = table.nearest(0, int(sensed.t_ns[5]))
    calibration = sensed.videos[0].calibration
    still = moved(table.read(number)[:, :3], np.array(calibration["lidar"]["to_ego"]))
    still = moved(still, inverse(np.array(calibration["front"]["to_ego"])))
    driven = abs(float(sensed.signals["speed"][5])) / 20
    assert np.median(np.abs(drawn[0] - still)[:, 2]) == pytest.approx(driven, rel=0.3)


def test_every_moment_has_one_even_size(tmp_path):
    reel = write(tmp_path / "reel", "lidar+radar+depth", "front+left")
    shapes = {image.shape for image in Overlay(reel, 0).frames(0, 99)}
    ((height, width, _),) = shapes
    assert height % 2 == 0 == width % 2


def test_cameras_stand_as_one_looks_around(tmp_path):
    """Left of what is ahead stands what is left of it; what looks back stands in a row of its own, mirrored as one turns."""
    yaws = {"front": 0, "rear": 180, "rear_left": 110, "rear_right": -110, "left": 55, "right": -55}

    def turned(degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return {"to_ego": [[s, 0, c, 0], [-c, 0, s, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]}

    def reel(path, calibration):
        image = np.zeros((16, 32, 3), np.uint8)
        drive = Recording("a", "made", lambda: iter([(0, (image,) * 6)]), {}, calibration)
        with ReelWriter(path, fps=20.0, height=16, width=32, cameras=tuple(yaws)) as writer:
            writer.add(drive, "train")
        overlay = Overlay(Reel(path), 0)
        seen = []
        camera = overlay._camera
        overlay._camera = lambda moment, c, readings: seen.append(list(yaws)[c]) or camera(moment, c, readings)
        overlay.draw(0)
        return seen

    known = {name: turned(yaw) for name, yaw in yaws.items()}
    assert reel(tmp_path / "known", known) == ["left", "front", "right", "rear_left", "rear", "rear_right"]
    assert reel(tmp_path / "unknown", known | {"rear": {}}) == list(yaws)


def test_a_bar_has_a_negative_half_only_for_what_is_clearly_negative():
    from roadcast.data.draw.overlay import _span

    assert _span("speed", np.array([-0.001, 8.0])) == (0.0, 8.0) and _span("speed", np.array([-2.0, 8.0])) == (
        -8.0,
        8.0,
    )
    assert _span("brake", np.array([0.0, 0.3])) == (0.0, 1.0) and _span("steer", np.array([-0.4, 0.1])) == (-1.0, 1.0)


def test_what_is_not_there_is_left_out(tmp_path, sensed, drawn):
    """Without poses there is no path, without sensors no ground from above; without calibration nothing is in the picture."""

    def bare(recording):
        signals = {"steer": recording.signals["steer"]}
        return dataclasses.replace(recording, signals=signals, calibration=None)

    alone = write(tmp_path / "alone", "", change=bare)
    uncalibrated = write(tmp_path / "uncalibrated", "lidar", change=bare)
    images = [Overlay(reel, 0).draw(3) for reel in (alone, uncalibrated, sensed)]
    assert len(drawn) == 2
    assert images[0].shape[1] < images[1].shape[1] < images[2].shape[1]


def test_a_sensor_whose_place_is_not_known_is_not_drawn_into_the_picture(tmp_path, drawn):
    def unplaced(recording):
        return dataclasses.replace(recording, calibration={"front": recording.calibration["front"]})

    Overlay(write(tmp_path / "reel", "lidar", change=unplaced), 0).draw(3)
    assert not drawn


def test_boxes_are_drawn_in_the_picture_and_from_above(tmp_path):
    def boxed(recording):
        row = np.array([[12, 0, 1, 4, 2, 2, 0, 0, 1]], np.float32)
        boxes = Sensor("boxes", BOX_FIELDS, recording.signals["speed"].t_ns, lambda n: row, ("car",))
        calibration = recording.calibration | {"boxes": {"to_ego": np.eye(4).tolist()}}
        return dataclasses.replace(recording, sensors={"boxes": boxes}, calibration=calibration)

    reel = write(tmp_path / "boxed", "", change=boxed)
    without = write(tmp_path / "without", "")
    a, b = Overlay(reel, 0).draw(3), Overlay(without, 0).draw(3)
    assert a.shape == b.shape
    changed = np.argwhere((np.abs(a.astype(int) - b) > 40).any(2)[:, :808])
    assert len(changed) > 100 and abs(changed[:, 1].mean() - 408) < 60
    with_box, none = ((np.abs(image[:408, 816:].astype(int) - ORANGE).max(2) < 60).sum() for image in (a, b))
    assert with_box > 50 and none == 0


def test_gauges_leave_an_unknown_value_unknown(sensed):
    from roadcast.data.draw.gauges import draw_gauges

    spans = {"steer": (-1.0, 1.0), "speed": (0.0, 20.0)}
    left, right = (draw_gauges({"steer": value, "speed": 5.0}, spans) for value in (0.5, -0.5))
    assert (left[:, :112] != right[:, :112]).any() and (left[:, 112:] == right[:, 112:]).all()
    orange = [
        np.argwhere((image[:100, :112].astype(int) - (246, 160, 70) == 0).all(2)).mean(0) for image in (left, right)
    ]
    assert orange[0][1] < 56 < orange[1][1]
    unknown = draw_gauges({"steer": float("nan"), "speed": float("nan")}, spans)
    blue = (unknown == (86, 156, 246)).all(2)
    assert not blue.any()
