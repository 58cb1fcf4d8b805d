"""Crops, sizes, and calibrations that follow them."""

import numpy as np
import pytest

from roadcast.data.intake.fit import fit, fit_calibration, fit_view


def test_crops_keep_the_aspect_and_the_stated_part():
    assert fit_view(120, 160, 64, 128, "bottom") == (40, 0, 80, 160)
    assert fit_view(120, 160, 64, 128, "center") == (20, 0, 80, 160)
    assert fit_view(120, 160, 64, 128, "top") == (0, 0, 80, 160)
    assert fit_view(100, 400, 64, 128, "bottom") == (0, 100, 100, 200)
    image = np.zeros((120, 160, 3), np.uint8)
    image[60:] = 100
    assert fit(image, 40, 80, "bottom").mean(axis=(1, 2)).tolist() == [0.0] * 10 + [100.0] * 30


@pytest.mark.parametrize("crop", ["top", "center", "bottom"])
def test_a_point_lies_on_the_same_thing_before_and_after(crop):
    """A white square of 8x8 pixels is found where the fitted intrinsics project its centre."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[56:64, 88:96] = 255
    ray = np.array([0.3, -0.1, 1.0])
    intrinsics = np.array([[100.0, 0, 91.5 - 30], [0, 100.0, 59.5 + 10], [0, 0, 1]])
    np.testing.assert_allclose(intrinsics @ ray, [91.5, 59.5, 1])
    calibration = {"front": {"intrinsics": intrinsics.tolist(), "mount": "roof"}, "rear": {}}
    fitted = fit_calibration(calibration, {"front": (120, 160), "left": (120, 160)}, 40, 80, crop)
    weight = fit(image, 40, 80, crop)[..., 0].astype(float)
    rows, columns = np.indices(weight.shape)
    centre = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum(), 1]
    np.testing.assert_allclose(np.array(fitted["front"]["intrinsics"]) @ ray, centre, atol=1e-9)
    assert fitted.keys() == {"front"} and fitted["front"]["mount"] == "roof"
    assert fit_calibration(None, {"front": (120, 160)}, 40, 80, crop) is None
