"""Boxes have their corners where length, width, height and yaw put them."""

import numpy as np

from roadcast.data.draw.boxes import boxes_of
from roadcast.data.reel.readings import Readings

FIELDS = ["x", "y", "z", "length", "width", "height", "yaw", "class", "track"]


def sensor(fields=FIELDS, classes=("car", "van")) -> Readings:
    kind = {"kind": "boxes", "fields": list(fields), "classes": list(classes)}
    index = np.zeros(0, [("t_ns", "<i8")])
    return Readings("boxes", kind, index, [], lambda *_: memoryview(b""), "")


def test_corners_begin_at_the_floors_front_left_and_turn_with_yaw():
    table = np.array([[10, 2, 1, 4, 2, 1.5, 0, 0, 7], [10, 2, 1, 4, 2, 1.5, np.pi / 2, 1, 8]], np.float32)
    boxes = boxes_of(sensor(), table)
    floor = [[12, 3, 0.25], [12, 1, 0.25], [8, 1, 0.25], [8, 3, 0.25]]
    np.testing.assert_allclose(boxes.corners[0, :4], floor, atol=1e-6)
    np.testing.assert_allclose(boxes.corners[0, 4:], np.add(floor, [0, 0, 1.5]), atol=1e-6)
    np.testing.assert_allclose(boxes.corners[1, 0], [9, 4, 0.25], atol=1e-6)
    assert boxes.names == ["car", "van"] and boxes.colours[0] != boxes.colours[1]


def test_a_class_without_a_name_has_none():
    table = np.array([[10, 2, 1, 4, 2, 1.5, 0, 5, 7]], np.float32)
    assert boxes_of(sensor(), table).names == [""]


def test_edges_join_the_corners():
    boxes = boxes_of(sensor(), np.array([[10, 2, 1, 4, 2, 1.5, 0.3, 0, 7]], np.float32))
    edges = boxes.edges()[0]
    for end in (edges[:, 0], edges[:, -1]):
        assert (np.linalg.norm(end[:, None] - boxes.corners[0], axis=2).min(1) < 1e-9).all()
