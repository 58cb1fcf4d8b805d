import cv2
import numpy as np
import pytest

from roadcast.evaluation.metrics.drift import collapse, slope
from roadcast.evaluation.metrics.flow import lateral_motion, motion, of_each, outward_motion

RNG = np.random.default_rng(0)
WALL = cv2.GaussianBlur(RNG.integers(0, 256, (200, 700, 3)).astype(np.float32), (0, 0), 3)
WALL = ((WALL - WALL.min()) / (WALL.max() - WALL.min()) * 255).astype(np.uint8)


def pan(pixels: int, frames: int = 6, height: int = 64, width: int = 128) -> np.ndarray:
    """A camera that turns: the picture moves right by so many pixels a frame."""
    return np.stack([WALL[:height, 300 - pixels * f : 300 - pixels * f + width] for f in range(frames)])


@pytest.mark.parametrize("pixels", [-5, -2, 0, 3, 6])
def test_lateral_flow_is_the_picture_s_motion_to_the_right(pixels):
    found = motion(pan(pixels))
    np.testing.assert_allclose(found.lateral, pixels, atol=0.25)
    np.testing.assert_allclose(found.magnitude, abs(pixels), atol=0.3)


def test_flow_of_a_large_picture_is_measured_small_and_told_in_its_own_pixels():
    np.testing.assert_allclose(motion(pan(8, height=200, width=320)).lateral, 8, atol=0.8)


def test_motion_is_no_error_but_flicker_is_and_more_of_it_is_more():
    steady = motion(pan(3)).warp_error.mean()
    assert steady < 1.5
    errors = [steady]
    for size in (5, 15, 40):
        noise = np.random.default_rng(1).normal(0, size, pan(3).shape)
        errors.append(motion(np.clip(pan(3) + noise, 0, 255).astype(np.uint8)).warp_error.mean())
    assert errors == sorted(errors)
    assert errors[1] > 2 * steady


def test_a_frozen_picture_has_neither_motion_nor_error():
    found = motion(pan(0))
    assert found.warp_error.max() == 0
    assert found.magnitude.max() < 1e-3


def test_several_videos_at_once_are_each_measured_as_alone():
    videos = [pan(p) for p in (-2, 1, 4)]
    for video, found in zip(videos, of_each(motion, videos), strict=True):
        for name in ("lateral", "magnitude", "warp_error"):
            np.testing.assert_array_equal(getattr(found, name), getattr(motion(video), name))
        np.testing.assert_array_equal(lateral_motion(video), found.lateral)


@pytest.mark.parametrize(
    "spoil", [lambda v: v, lambda v: np.repeat(v[:1], len(v), axis=0), lambda v: np.repeat(v[::2], 2, axis=0)]
)
def test_a_drive_a_stop_and_half_the_rate_are_no_repetition(spoil):
    real = pan(3, frames=17)
    assert not collapse(spoil(real), real)["repeating"]


def test_a_world_may_repeat_where_the_real_video_does():
    real = pan(3, frames=17)[np.arange(17) % 4]
    assert not collapse(real, real)["repeating"]


@pytest.mark.parametrize("growth", [0.0, 0.01, 0.03])
def test_outward_flow_is_how_much_the_picture_grows_whichever_way_it_turns(growth):
    """A picture that grows by a share g moves g |r| outwards at r: on the mean over |r|, `g sum |r|^2 / sum |r|`."""
    wide, found = WALL[:64, 300:428], []
    for pixels in (0, 3):
        still = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
        moved = np.array([[1 + growth, 0, pixels - growth * 63.5], [0, 1 + growth, -growth * 31.5]], dtype=np.float32)
        video = np.stack([cv2.warpAffine(wide, m, (128, 64), borderMode=cv2.BORDER_REFLECT) for m in (still, moved)])
        found.append(outward_motion(video)[0])
    r = np.hypot(*np.meshgrid(np.arange(128) - 63.5, np.arange(64) - 31.5))
    assert found == pytest.approx([growth * np.square(r).sum() / r.sum()] * 2, abs=0.15)


def test_slope_is_a_second():
    np.testing.assert_allclose(slope(np.arange(20) * np.array([[0.1], [-2.0]]), fps=10.0), [1.0, -20.0])


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda v: np.repeat(v[:1], len(v), axis=0), "frozen"),
        (lambda v: v // 8, "black"),
        (lambda v: (v // 8 + 110).astype(np.uint8), "blank"),
        (lambda v: np.where(v > 127, 255, 0).astype(np.uint8), "saturated"),
        (lambda v: v[np.arange(len(v)) % 4], "repeating"),
        (lambda v: v[np.arange(len(v)) % 2], "repeating"),
    ],
)
def test_each_collapse_is_named_and_real_video_has_none(spoil, kind):
    real = pan(3, frames=17)
    assert collapse(spoil(real), real)[kind]
    assert not any(collapse(real, real).values())
