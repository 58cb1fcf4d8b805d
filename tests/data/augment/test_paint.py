"""What the single augmentations promise: the level of noise, frames lost, depth in fog, rain that falls, JPEG as a codec makes it."""

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.augment import Augment, Chance
from roadcast.data.augment.blur import UNIT, kernels_of
from roadcast.data.augment.fog import depth_of_rows
from roadcast.data.augment.jpeg import compressed
from roadcast.data.augment.noise import Noise


def frames(augment: Augment, clip) -> np.ndarray:
    made = augment(clip).frames_BFHWC
    assert made is not None
    return made.numpy().astype(np.float64)


@pytest.mark.parametrize("level", [40, 128, 200])
def test_noise_has_the_level_it_states_in_every_frame(clips, level):
    clip = clips(np.full((12, 3, 48, 64, 3), level, np.uint8))
    made = frames(Augment({"noise": 1.0}, 0), clip)
    read, gain = Noise(1.0).levels(Chance(0, np.arange(12), "noise"))
    sigma = np.sqrt(read**2 + gain * level + 1 / 12)
    between = np.diff(made, axis=1).std(axis=(2, 3, 4))
    assert np.allclose(between, np.sqrt(2) * sigma[:, None], rtol=0.05)
    assert np.allclose(made.mean(axis=(1, 2, 3, 4)), level, atol=0.25)
    assert sigma.max() > 1.5 * sigma.min()


def test_a_lost_frame_is_the_last_one_again_and_labels_stay(clips):
    pixels = np.zeros((40, 12, 2, 4, 4, 3), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None, None, None]
    clip = clips(pixels)
    made = Augment({"drop": 0.3}, 0)(clip)
    assert made.views_BFVHWC is not None
    shown = made.views_BFVHWC[:, :, 0, 0, 0, 0].numpy().astype(int)
    assert (made.views_BFVHWC.numpy() == shown[:, :, None, None, None, None]).all()
    lost = shown[:, 1:] != np.arange(1, 12)
    assert (shown[:, 0] == 0).all()
    assert (shown[:, 1:][lost] == shown[:, :-1][lost]).all()
    assert abs(lost.mean() - 0.3) < 0.06
    assert torch.equal(made.actions_BFA, clip.actions_BFA) and torch.equal(made.t_ns_BF, clip.t_ns_BF)
    assert torch.equal(made.pose_BF7, clip.pose_BF7)  # pyright: ignore


@pytest.mark.parametrize("quality", [20, 50, 85])
@pytest.mark.parametrize("size", [(64, 96), (37, 53)])
def test_jpeg_loses_what_a_codec_loses(quality, size):
    """As OpenCV's does, but for the coefficients that lie between two steps: they may be rounded the other way."""
    rng = np.random.default_rng(quality)
    image = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3)).astype(np.uint8), (0, 0), 1.5)
    ours = compressed(
        torch.from_numpy(image).permute(2, 0, 1)[None, None, None].contiguous(), np.array([float(quality)])
    )
    ours = np.ascontiguousarray(ours[0, 0, 0].permute(1, 2, 0).numpy())
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    theirs = cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    lost = np.abs(theirs.astype(int) - image).mean()
    assert lost > 1.5 and abs(np.abs(ours.astype(int) - image).mean() / lost - 1) < 0.03
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2YCrCb).astype(int) for x in (ours, theirs))
    off = np.abs(a - b)
    assert (off[..., 0] <= 1).mean() > 0.95
    assert (off[..., 1:] <= 2).mean() > 0.75


def test_fog_fades_by_depth_to_the_light_of_the_air(clips):
    """With depth given: nothing is lost close by, all of it in the sky, and log t is in proportion to depth."""
    pixels = np.full((1, 1, 16, 64, 3), 100, np.uint8)
    pixels[:, :, 8:] = 20
    metres = torch.linspace(0, 60, 64).repeat(1, 1, 1, 16, 1)
    metres[..., -1] = float("inf")
    made = Augment({"fog": 1.0}, 0)(clips(pixels), metres).frames_BFHWC
    assert made is not None
    contrast = (made[0, 0, 0].float() - made[0, 0, 8].float()).mean(-1).numpy() / 80
    assert contrast[0] > 0.98 and contrast[-1] == 0
    visibility = 30 * 5.0 ** Chance(0, np.array([0]), "fog").uniform("visibility")
    assert np.abs(contrast[:63] - np.exp(-3 * metres[0, 0, 0, 0, :63].numpy() / visibility)).max() < 0.02


def test_without_depth_fog_is_thickest_at_the_horizon_and_thins_towards_the_car():
    rows = depth_of_rows(100, np.array([40.0]), np.ones(1))[0]
    assert (np.diff(rows[42:]) < 0).all()
    assert rows[99] < 3 and 30 < rows[40] < 100 and rows[:40].min() > 30
    assert np.allclose(depth_of_rows(100, np.array([40.0]), np.array([2.0]))[0], 2 * rows)


def test_fog_follows_the_horizon_that_a_crop_moves(clips):
    clip = clips(np.full((20, 1, 60, 40, 3), 30, np.uint8))
    augment = Augment({"fog": 1.0, "crop": 0.5}, 0, horizon=0.4)
    made = frames(augment, clip)[:, 0, :, 0].mean(-1)
    visibility = 30 * 5.0 ** Chance(0, np.arange(20), "fog").uniform("visibility")
    for key in range(20):
        matrix = augment.geometry(key, 60, 40)
        horizon = matrix[1, 1] * (0.4 * 60 - 0.5) + matrix[1, 2]
        veil = 1 - np.exp(-3 * depth_of_rows(60, np.array([horizon]), matrix[1:2, 1])[0] / visibility[key])
        light = ((made[key] - 30) / veil)[veil.argmax()]
        assert np.abs(made[key] - 30 - light * veil).max() < 2.5


def test_rain_falls_at_the_same_speed_whatever_the_rate(clips):
    """At twice the rate every second frame is the same; from one to the next, what is there goes down."""
    grey = clips(np.full((3, 5, 96, 128, 3), 90, np.uint8))
    fast = clips(np.full((3, 9, 96, 128, 3), 90, np.uint8))
    grey.t_ns_BF, fast.t_ns_BF = torch.arange(5).expand(3, -1) * 10_000_000, torch.arange(9).expand(3, -1) * 5_000_000
    augment = Augment({"rain": 1.0}, 0)
    slow_made, fast_made = frames(augment, grey), frames(augment, fast)
    assert np.array_equal(slow_made, fast_made[:, ::2])
    for first, then in slow_made[:, :2, :, :, 0]:
        off = {
            (down, right): np.abs(np.roll(first, (down, right), (0, 1)) - then)[8:-8, 8:-8].mean()
            for down in range(-6, 7)
            for right in range(-3, 4)
        }
        down, _ = min(off, key=lambda shift: off[shift])
        assert 1 <= down <= 5 and off[0, 0] > 0.3


def test_blur_keeps_the_light_and_takes_away_the_detail(clips):
    kernels = kernels_of(Chance(0, np.arange(50), "blur"), 144, 5)
    assert (kernels.sum(axis=(1, 2)) == UNIT).all() and (kernels >= 0).all() and (kernels == np.floor(kernels)).all()
    pixels = np.random.default_rng(0).integers(60, 200, (6, 1, 144, 96, 3)).astype(np.uint8)
    made = frames(Augment({"blur": 1.0}, 0), clips(pixels))
    assert np.abs(made.mean(axis=(1, 2, 3)) - pixels.mean(axis=(1, 2, 3))).max() < 1
    assert (made.std(axis=(1, 2, 3, 4)) < 0.8 * pixels.std(axis=(1, 2, 3, 4))).all()


def test_colour_is_in_proportion_to_its_strength_and_the_same_for_every_pixel(clips, scene):
    clip = clips(np.broadcast_to(scene(), (8, 2, 48, 64, 3)).copy())
    change = [
        np.abs(frames(Augment({"colour": s}, 0), clip) - scene()).mean(axis=(1, 2, 3, 4)) for s in (0.1, 0.5, 1.0)
    ]
    assert (change[0] < change[1]).all() and (change[1] < change[2]).all() and change[0].max() < 15
    shuffled = clips(np.ascontiguousarray(np.broadcast_to(scene(), (8, 2, 48, 64, 3))[:, :, ::-1, ::-1]))
    a, b = (frames(Augment({"colour": 1.0}, 0), x) for x in (clip, shuffled))
    assert np.array_equal(a[:, :, ::-1, ::-1], b)


def test_glare_is_in_one_camera_only(clips):
    made = Augment({"glare": 1.0}, 0)(clips(np.full((16, 1, 3, 48, 64, 3), 50, np.uint8))).views_BFVHWC
    assert made is not None
    blinded = (made > 55).flatten(3).any(3)[:, 0]
    assert (blinded.sum(1) == 1).all() and (blinded.sum(0) > 0).all()
