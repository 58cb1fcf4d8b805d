"""Copies of pictures are found though coded, sized or brightened anew; views that are merely alike are not called copies."""

import cv2
import numpy as np
import pytest

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording
from roadcast.data.sources.toyroad import ToyroadSource
from roadcast.data.splits.leakage import alike, find_copies, leak_warning, leaks, picture_code


def drive(seed: int, frames: int = 30) -> list[np.ndarray]:
    """Every fourth picture of a drive: in between, a slow car sees too little change for a moment to be told from the next."""
    source = ToyroadSource(recordings=1, frames=4 * frames, seed=seed, height=96, width=128, weather="clear")
    return [images for _, images in next(source.recordings()).frames()][::4]


def reel_of(path, recordings: dict[str, tuple[str, list[np.ndarray]]]) -> Reel:
    with ReelWriter(path, fps=20, height=96, width=128) as writer:
        for name, (split, pictures) in recordings.items():
            frames = [(n * 50_000_000, picture) for n, picture in enumerate(pictures)]
            writer.add(Recording(name, "made", lambda frames=frames: iter(frames), {}), split)
    return Reel(path)


def coded_anew(picture: np.ndarray) -> np.ndarray:
    """Smaller, coarsely coded, a little brighter, and back."""
    small = cv2.resize(picture, (96, 72), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, 60))[1]
    again = cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (128, 96))
    return cv2.convertScaleAbs(again, alpha=1.05, beta=4)


def test_copies_across_splits_are_found_and_named(tmp_path):
    train, other = drive(0), drive(1)
    copied = [*other[:10], *(coded_anew(picture) for picture in train[10:20]), *other[10:20]]
    reel = reel_of(tmp_path / "reel", {"a": ("train", train), "b": ("val", copied)})
    found = leaks(reel)
    assert found.asked == 30
    at = dict(zip(found.frames[found.copies].tolist(), found.likes[found.copies].tolist()))
    assert len(at) >= 8 and all(at[frame] == frame - 30 for frame in at)
    warning = leak_warning(reel, found)
    assert f"{len(at)} of 30 pictures of val and test" in warning and f"b and a ({len(at)})" in warning


def test_another_drive_and_a_standing_car_are_no_copies(tmp_path):
    first = drive(2)
    noise = np.random.default_rng(0)
    still = [np.clip(first[0] + noise.normal(0, 3, first[0].shape), 0, 255).astype(np.uint8) for _ in range(20)]
    reel = reel_of(
        tmp_path / "reel", {"a": ("train", [*still[:10], *first]), "b": ("val", still[10:]), "c": ("val", drive(3))}
    )
    found = leaks(reel)
    assert not found.copies.any() and leak_warning(reel, found) is None
    assert found.frames.size, "the standing car's views are alike"


def test_recordings_of_one_side_are_not_compared(tmp_path):
    pictures = drive(4, 10)
    reel = reel_of(tmp_path / "reel", {"a": ("train", pictures), "b": ("train", pictures), "c": ("val", drive(5, 10))})
    assert not find_copies(reel, [0, 0, 1]).copies.any()
    assert find_copies(reel, [0, 1, 2]).copies.sum() == 20


def test_codes_know_neither_size_nor_brightness():
    picture = drive(6, 1)[0]
    code = picture_code(picture).astype(float)
    assert np.linalg.norm(code - picture_code(coded_anew(picture)).astype(float)) < 0.1
    assert np.linalg.norm(code - picture_code(drive(7, 1)[0]).astype(float)) > 0.2


@pytest.mark.slow
def test_a_hundred_thousand_pictures_take_seconds():
    chance = np.random.default_rng(0)
    codes = chance.normal(size=(100_000, 64)).astype(np.float16)
    codes[90_000:] = codes[:10_000] + chance.normal(0, 0.02, (10_000, 64))
    sides = np.r_[np.zeros(90_000, int), np.ones(10_000, int)]
    rows, likes = alike(codes, sides, sides == 1)
    assert (likes == rows - 90_000).mean() > 0.99 and len(rows) > 9_900
