"""Points fall on the pixels that the camera's model says, in a picture of any size."""

import cv2
import numpy as np

from roadcast.data.draw.lens import Lens

INTRINSICS = [[100.0, 0, 79.5], [0, 100.0, 47.5], [0, 0, 1]]


def test_an_enlarged_picture_has_a_point_on_the_same_thing():
    """A pixel's centre, projected into a picture of three times the size, is the centre of its nine."""
    point = np.array([[0.1, -0.2, 1.0]])
    one = Lens({"intrinsics": INTRINSICS}, 96, 160, (1.0, 1.0)).pixels(point)[0][0]
    three = Lens({"intrinsics": INTRINSICS}, 96, 160, (3.0, 3.0)).pixels(point)[0][0]
    np.testing.assert_allclose(one, [89.5, 27.5])
    np.testing.assert_allclose(three, 3 * one + 1)


def test_what_is_behind_or_at_the_camera_has_no_pixel():
    points = np.array([[0, 0, 5.0], [0, 0, -5.0], [0, 0, 0.0], [1.0, 1.0, 0.1]])
    uv, seen = Lens({"intrinsics": INTRINSICS}, 96, 160, (1.0, 1.0)).pixels(points)
    assert seen.tolist() == [True, False, False, False] and np.isfinite(uv).all()


def test_distortion_is_opencvs_and_does_not_fold_far_points_back_in():
    """With k1 = -0.3 a point 60 degrees aside would be thrown across the middle of the picture: r (1 - 0.3 r^2)."""
    told = {"intrinsics": INTRINSICS, "distortion": [-0.3, 0.05, 0.001, -0.002, 0.0]}
    points = np.array([[0.3, 0.2, 1.0], [-0.2, 0.1, 1.0]])
    uv, seen = Lens(told, 96, 160, (1.0, 1.0)).pixels(points)
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.array(INTRINSICS), np.array(told["distortion"]))
    np.testing.assert_allclose(uv, expected[0][:, 0])
    assert seen.all()
    assert not Lens(told, 96, 160, (1.0, 1.0)).pixels(np.array([[1.9, 0.0, 1.0]]))[1].any()
