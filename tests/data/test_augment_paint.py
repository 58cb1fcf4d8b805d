"""Every augmentation of colours: what it does, that it holds still over time, and that labels are left alone."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.augment import AUGMENTATIONS, Augment, Chance, Paint
from roadcast.data.augment.blur import UNIT, kernels_of
from roadcast.data.augment.fog import depth_of_rows
from roadcast.data.augment.jpeg import compressed
from roadcast.data.augment.noise import Noise
from roadcast.data.clip import Clip

PAINTS = [name for name, cls in AUGMENTATIONS.items() if issubclass(cls, Paint)]
STILL = [name for name in PAINTS if name not in ("noise", "rain")]
H, W = 64, 128


def scene(seed: int = 0, height: int = H, width: int = W) -> np.ndarray:
    """A picture with structure at every scale."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.uniform(0, 255, (n, 2 * n, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
        for n in (2, 5, 12)
    ]
    return np.clip(0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2], 0, 255).astype(np.uint8)


def made(name: str, pixels: np.ndarray, amount: float = 1.0, keys: list[int] | None = None, **options) -> np.ndarray:
    """Pixels [B, F, H, W, 3] augmented by one name."""
    batch, frames = pixels.shape[:2]
    none = torch.zeros(batch, dtype=torch.int64)
    clip = Clip(
        torch.from_numpy(np.ascontiguousarray(pixels)), None, torch.rand(batch, frames, 1),
        torch.ones(batch, frames, 1, dtype=torch.bool), (torch.arange(frames) * 50_000_000).expand(batch, -1), none, none,
        key_B=torch.tensor(keys) if keys else torch.arange(batch),
    )  # fmt: skip
    out = Augment({name: amount}, 0)(clip, **options)
    assert out.frames_BFHWC is not None and out.frames_BFHWC.dtype == torch.uint8
    for field in ("actions_BFA", "known_BFA", "t_ns_BF"):
        assert torch.equal(getattr(out, field), getattr(clip, field)), "labels are left alone"
    return out.frames_BFHWC.numpy()


def amount_of(name: str) -> float:
    return 0.5 if AUGMENTATIONS[name].limit < 1 else 1.0


@pytest.mark.parametrize("name", STILL)
def test_a_still_clip_stays_still(name):
    still = np.repeat(scene()[None, None], 6, axis=1).repeat(3, axis=0)
    out = made(name, still, amount_of(name))
    assert (out == out[:, :1]).all()
    if name != "drop":
        changed = (out != still).any(axis=(1, 2, 3, 4))
        assert changed.all()


@pytest.mark.parametrize("name", PAINTS)
def test_things_stay_where_they_are(name):
    """Fine structure matches that of the original best unmoved."""
    pixels = np.stack([scene(seed) for seed in range(4)])[:, None]
    out = made(name, pixels, amount_of(name))
    assert np.array_equal(Augment({name: 0.5}, 0).geometry(3, H, W), np.eye(3))
    for before, after in zip(fine(pixels), fine(out), strict=True):
        match = {}
        for dy, dx in itertools.product((-2, 0, 2), repeat=2):
            there = after[8 + dy : H - 8 + dy, 8 + dx : W - 8 + dx]
            match[dy, dx] = np.corrcoef(before[8:-8, 8:-8].ravel(), there.ravel())[0, 1]
        assert max(match, key=lambda place: match[place]) == (0, 0)


def fine(pixels: np.ndarray) -> list[np.ndarray]:
    """What is finer than a few pixels in the first frames, grey."""
    grey = [image.mean(axis=-1) for image in pixels[:, 0]]
    return [image - cv2.GaussianBlur(image, (0, 0), 3) for image in grey]


def test_noise_has_the_level_it_says_and_a_new_pattern_in_every_frame():
    keys = [4, 5, 6]
    read, gain = Noise(1.0).levels(Chance(0, np.array(keys, np.int64), "noise"))
    for value in (60, 128, 190):
        out = made("noise", np.full((3, 8, H, W, 3), value, np.uint8), keys=keys).astype(float)
        sigma = np.sqrt(read**2 + gain * value + 1 / 12)
        assert np.allclose(out.std(axis=(1, 2, 3, 4)), sigma, rtol=0.02)
        assert np.allclose(np.diff(out, axis=1).std(axis=(1, 2, 3, 4)), np.sqrt(2) * sigma, rtol=0.02)
        assert np.allclose(out.mean(axis=(1, 2, 3, 4)), value, atol=0.15)
        for one, other in ((0, 1), (0, 5)):
            frames = out[0, one].ravel(), out[0, other].ravel()
            assert abs(np.corrcoef(*frames)[0, 1]) < 0.05


@pytest.mark.parametrize("quality", [20, 50, 80, 95])
def test_jpeg_loses_what_opencv_s_jpeg_loses(quality):
    image = scene(2, 64, 128) // 2 + np.random.default_rng(0).integers(0, 60, (64, 128, 3)).astype(np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None, None, None].contiguous()
    ours = compressed(pixels, np.array([float(quality)]))[0, 0, 0].permute(1, 2, 0).numpy().astype(float)
    _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    theirs = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    loss = np.sqrt(((theirs - image) ** 2).mean())
    assert np.isclose(np.sqrt(((ours - image) ** 2).mean()), loss, rtol=0.05)
    assert np.sqrt(((ours - theirs) ** 2).mean()) < 0.25 * loss + 0.5


def test_jpeg_takes_any_size():
    pixels = scene(1, 41, 67)[None, None]
    assert np.abs(made("jpeg", pixels).astype(int) - pixels).mean() < 12
    assert made("drops", pixels).shape == pixels.shape


def test_colour_keeps_a_grey_picture_s_order_and_strength_goes_to_nothing():
    ramp = np.repeat(np.linspace(0, 255, W).astype(np.uint8)[None, None, None, :, None], 3, axis=-1).repeat(8, axis=2)
    ramps = ramp.repeat(20, axis=0)
    out = made("colour", ramps).astype(int)
    assert (np.diff(out, axis=3) >= -1).all()
    weak = np.abs(made("colour", ramps, 0.02).astype(int) - ramps).max()
    assert weak <= 6 < np.abs(out - ramps).max()


def test_blur_kernels_are_whole_and_keep_brightness():
    kernels = kernels_of(Chance(0, np.arange(50, dtype=np.int64), "blur"), 144, 5)
    assert (kernels == np.rint(kernels)).all() and (kernels >= 0).all() and (kernels.sum(axis=(1, 2)) == UNIT).all()
    axis = np.arange(-5, 6)
    assert np.abs((kernels * axis).sum(axis=(1, 2))).max() < 0.02 * UNIT, "a kernel moves nothing"
    flat = np.full((2, 1, H, W, 3), 77, np.uint8)
    assert (made("blur", flat) == 77).all()
    sharp = scene(3)[None, None]
    assert cv2.Laplacian(made("blur", sharp)[0, 0], cv2.CV_64F).var() < cv2.Laplacian(sharp[0, 0], cv2.CV_64F).var()


def test_fog_takes_contrast_by_depth():
    """What is left of the contrast at each depth is exp(-3 d / visibility), for one visibility a clip."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 1, H, W, 3), np.uint8)
    depth = np.repeat(np.array([5.0, 15, 30, np.inf], np.float32), W // 4)
    depth = torch.from_numpy(np.broadcast_to(depth, (1, 1, 1, H, W)).copy())
    out = made("fog", pixels, depth_BFVHW=depth).astype(float)[0, 0]
    left = [
        np.polyfit(pixels[0, 0, :, k : k + W // 4].ravel(), out[:, k : k + W // 4].ravel(), 1)[0]
        for k in range(0, W, W // 4)
    ]
    visibility = -3 * 15 / np.log(left[1])
    assert 30 <= visibility <= 151
    assert np.allclose(left[0], np.exp(-15 / visibility), atol=0.01)
    assert np.allclose(left[2], np.exp(-90 / visibility), atol=0.01)
    assert left[3] < 0.02, "the sky is the light of the air"


def test_fog_without_depth_is_thickest_at_the_horizon_and_follows_the_crop():
    metres = depth_of_rows(144, np.array([60.0]), np.ones(1))[0]
    assert abs(int(metres.argmax()) - 60) <= 14
    assert (np.diff(metres[62:]) < 0).all(), "ground is nearer and nearer below the horizon"
    assert np.isclose(metres[140], 1.2 * 144 * 1.4 / 80, rtol=0.02)
    assert np.allclose(depth_of_rows(144, np.array([60.0]), np.full(1, 2.0)), 2 * metres)


@pytest.mark.parametrize("passed_ms", [10, 20, 40])
def test_rain_goes_on_from_frame_to_frame_at_any_rate(monkeypatch, passed_ms):
    """The one sheet 4 m away moves down as a whole by speed x focal length / distance x the time that has passed."""
    monkeypatch.setattr("roadcast.data.augment.rain._DISTANCES", (4.0,))
    none = torch.zeros(1, dtype=torch.int64)
    clip = Clip(
        torch.full((1, 2, 128, 256, 3), 40, dtype=torch.uint8), None, torch.zeros(1, 2, 1), torch.ones(1, 2, 1) > 0,
        torch.tensor([[0, passed_ms * 1_000_000]]), none, none, key_B=torch.tensor([3]),
    )  # fmt: skip
    out = Augment({"rain": 1.0}, 0)(clip).frames_BFHWC
    assert out is not None
    first, second = out[0, ..., 1].numpy().astype(float)
    match = {}
    for down, aside in itertools.product(range(-4, 16), range(-6, 7)):
        there = np.roll(second, (-down, -aside), (0, 1))
        match[down, aside] = np.corrcoef(first[:110, 8:-8].ravel(), there[:110, 8:-8].ravel())[0, 1]
    best = max(match, key=lambda place: match[place])
    fall = 8 * 1.2 * 128 / 4 * passed_ms / 1000
    assert match[best] > 0.999 and abs(best[0] - fall) <= 1 and abs(best[1]) <= 0.4 * fall + 1


def test_dropped_frames_are_the_last_one_shown():
    numbered = np.arange(40, dtype=np.uint8)[None, :, None, None, None] * np.ones((6, 1, 16, 16, 3), np.uint8)
    shown = made("drop", numbered, 0.3)
    assert (shown == shown[..., :1, :1, :1]).all()
    shown = shown[..., 0, 0, 0].astype(int)
    assert (shown[:, 0] == 0).all()
    kept = shown == np.arange(40)
    assert 0.6 < kept.mean() < 0.8
    assert (kept | (shown == np.roll(shown, 1, axis=1))).all()
    assert len({tuple(row) for row in shown.tolist()}) == 6


def test_drops_change_a_few_spots_and_glare_only_lightens():
    pixels = np.repeat(scene(5)[None, None], 8, axis=0)
    touched = (made("drops", pixels) != pixels).any(axis=(1, 4)).mean(axis=(1, 2))
    assert (touched > 0).all() and touched.mean() < 0.3
    assert (made("glare", pixels) >= pixels).all()
