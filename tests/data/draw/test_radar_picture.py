"""Boxes lie on the radar's picture where its metres per pixel put them."""

import numpy as np

from roadcast.data.draw.boxes import Boxes
from roadcast.data.draw.radar_picture import draw_radar_picture

FLOOR = np.array([(12.0, 5, 0), (12.0, 3, 0), (8.0, 3, 0), (8.0, 5, 0)])
BOX = Boxes(np.concatenate([FLOOR, np.add(FLOOR, [0, 0, 2])])[None], [(255, 0, 0)], ["car"])


def test_a_box_ahead_and_to_the_left_is_above_and_left_of_the_middle():
    """100 pixels at 0.4 m make 40 m; in 200 pixels a metre is 5: x 8 to 12 m lies 40 to 60 above the middle."""
    image = draw_radar_picture(np.zeros((100, 100), np.uint8), 200, {"metres_per_pixel": 0.4}, [BOX])
    rows, columns = np.nonzero(image.any(2))
    assert abs(rows.min() - 40) <= 1 and abs(rows.max() - 60) <= 1
    assert abs(columns.min() - 75) <= 1 and abs(columns.max() - 85) <= 1


def test_without_a_scale_no_box_is_drawn_and_the_picture_keeps_its_aspect():
    image = draw_radar_picture(np.full((100, 50), 200, np.uint8), 200, {}, [BOX])
    assert (image[:, 50:150] == 200).all() and not image[:, :50].any() and not image[:, 150:].any()
