"""From above, forward is up and left is left."""

import numpy as np

from roadcast.data.draw.birdseye import BirdsEye
from roadcast.data.draw.canvas import GREEN


def test_forward_is_up_and_left_is_left_at_the_stated_scale():
    panel = BirdsEye(400, 40.0)
    here, ahead, left = panel.pixels(np.array([[0.0, 0], [10, 0], [0, 10]]))
    assert ahead[0] == here[0] and ahead[1] == here[1] - 68
    assert left[1] == here[1] and left[0] == here[0] - 68
    assert panel.pixels(np.array([[40.0, 0]]))[0, 1] == 0


def test_points_colour_their_pixels_and_those_outside_none():
    panel = BirdsEye(400, 40.0)
    before = panel.image.copy()
    panel.points(np.array([[20.0, 5.0, 1.0], [500.0, 0, 0], [0, -1e6, 0]]))
    changed = np.argwhere((panel.image != before).any(2))
    u, v = panel.pixels(np.array([20.0, 5.0]))
    assert changed.tolist() == [[v, u]]


def test_the_way_to_come_is_green():
    panel = BirdsEye(400, 40.0)
    panel.path(np.zeros((0, 3)), np.array([[0.0, 0, 0], [20.0, 10.0, 0]]))
    u, v = panel.pixels(np.array([10.0, 5.0]))
    assert (panel.image[v, u] == GREEN).all()
