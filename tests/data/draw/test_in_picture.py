"""Points and boxes are drawn where the lens puts them, the nearest on top, and nowhere else."""

import numpy as np

from roadcast.data.draw.boxes import Boxes
from roadcast.data.draw.in_picture import depth_colours, draw_boxes, draw_points
from roadcast.data.draw.lens import Lens

LENS = Lens({"intrinsics": [[50.0, 0, 50], [0, 50.0, 50], [0, 0, 1]]}, 100, 100, (1.0, 1.0))


def blank() -> np.ndarray:
    return np.zeros((100, 100, 3), np.uint8)


def test_a_point_colours_its_disc_alone():
    image = blank()
    assert draw_points(image, np.array([[2.0, -1.0, 10.0]]), LENS, radius=1) == 1
    touched = np.argwhere(image.any(2))
    assert sorted(map(tuple, touched)) == [(44, 60), (45, 59), (45, 60), (45, 61), (46, 60)]
    assert (image[45, 60] == depth_colours(np.array([10.0]))[0]).all()


def test_the_nearest_point_is_on_top_and_what_is_outside_is_not_drawn():
    image = blank()
    points = np.array([[0, 0, 3.0], [0, 0, 60.0], [100, 0, 5.0], [0, 0, -5.0]])
    assert draw_points(image, points, LENS, radius=0) == 2
    assert (image[50, 50] == depth_colours(np.array([3.0]))[0]).all() and image.any(2).sum() == 1


def test_near_is_red_and_far_is_blue():
    near, far = depth_colours(np.array([2.0, 70.0])).astype(int)
    assert near[0] > near[2] + 50 and far[2] > far[0] + 50


def cube(z: float, name: str = "car") -> Boxes:
    """A cube of 2 m, z m in front of the camera."""
    signs = np.array([(x, y, d) for y in (1, -1) for x, d in ((-1, -1), (1, -1), (1, 1), (-1, 1))], float)
    return Boxes(np.add(signs, [0, 0, z])[None], [(255, 0, 0)], [name])


def test_a_box_is_drawn_as_its_edges():
    image = blank()
    assert draw_boxes(image, cube(11, ""), LENS) == 1
    front, rear = (round(50 + 50 / depth) for depth in (10, 12))
    assert image[front, 50].any() and image[50, rear].any() and not image[:40].any() and not image[52, 50].any()


def test_a_box_half_behind_the_camera_is_cut_and_one_behind_it_left_out():
    image = blank()
    assert draw_boxes(image, cube(0.5), LENS) == 1 and image.any()
    image = blank()
    assert draw_boxes(image, cube(-5), LENS) == 0 and not image.any()
    assert draw_boxes(image, Boxes(np.add(cube(10).corners, [500, 0, 0]), [(255, 0, 0)], ["car"]), LENS) == 0
