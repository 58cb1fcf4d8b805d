"""Clips that are spoilt at rising strength, so that a metric can show whether it sees it."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.reel.store import Reel
from roadcast.data.toyroad import Driver, ToyWorld

FRAMES = 12
FASTEST = 3
HEIGHT, WIDTH = 64, 128
STRENGTHS = {
    "blur": (0.7, 1.5, 3.0),  # deviation of the Gaussian in pixels
    "noise": (8.0, 16.0, 32.0),  # deviation in grey levels
    "shuffle": (2, 4, 12),  # frames change places within so many
    "speed": (1.5, 2.0, 3.0),  # times as fast
    "wrong steering": (0.1, 0.3, 0.9),  # added to the steering from the first frame on, to left and right in turn
}


@dataclass(frozen=True)
class Clips:
    """Videos of FRAMES frames [N, F, H, W, 3] uint8.

    true    real ones
    spoilt  [distortion][strength number], of these
    """

    true: np.ndarray
    spoilt: dict[str, list[np.ndarray]]


def spoil(long_NFHWC: np.ndarray, how: str, strength: float) -> np.ndarray:
    """The first FRAMES frames of videos of FASTEST times as many, spoilt."""
    rng = np.random.default_rng(0)
    if how == "speed":
        return long_NFHWC[:, np.rint(np.arange(FRAMES) * strength).astype(int)]
    videos = long_NFHWC[:, :FRAMES]
    if how == "shuffle":
        return np.stack([video[shuffled(int(strength), rng)] for video in videos])
    if how == "noise":
        return np.clip(np.rint(videos + strength * rng.normal(size=videos.shape)), 0, 255).astype(np.uint8)
    return np.stack([[cv2.GaussianBlur(frame, (0, 0), strength) for frame in video] for video in videos])


def shuffled(within: int, rng: np.random.Generator) -> np.ndarray:
    """An order of FRAMES frames that mixes every `within` neighbours and leaves none in its place."""
    order = np.arange(FRAMES).reshape(-1, within)
    mixed = rng.permuted(order, axis=1)
    while (mixed == order).any():
        mixed = rng.permuted(order, axis=1)
    return mixed.ravel()


def from_reel(folder: Path, count: int) -> Clips:
    """`count` clips of a reel, evenly spread."""
    reel, span = Reel(folder), FASTEST * FRAMES
    starts = [n for video in reel.videos for n in range(video.first, video.first + video.frames - span, span)]
    if len(starts) < count:
        raise SystemExit(f"{folder}: {len(starts)} clips of {span} frames, and {count} are needed")
    chosen = [starts[i] for i in np.linspace(0, len(starts) - 1, count).round().astype(int)]
    return spoilt(np.stack([np.stack([reel.read(s + f) for f in range(span)]) for s in chosen]))


def from_toyroad(count: int) -> Clips:
    """`count` drives in the toy world, all in one weather."""
    return spoilt(np.stack([drive(seed, FASTEST * FRAMES) for seed in range(count)]))


def spoilt(long_NFHWC: np.ndarray) -> Clips:
    """All distortions that need no simulator."""
    kinds = [how for how in STRENGTHS if how != "wrong steering"]
    made = {how: [spoil(long_NFHWC, how, strength) for strength in STRENGTHS[how]] for how in kinds}
    return Clips(long_NFHWC[:, :FRAMES], made)


def wrong_steering(count: int) -> Clips:
    """Drives in the toy world, and the same with something added to the steering."""
    true = np.stack([drive(seed, FRAMES) for seed in range(count)])
    wrong = [
        np.stack([drive(seed, FRAMES, amount if seed % 2 else -amount) for seed in range(count)])
        for amount in STRENGTHS["wrong steering"]
    ]
    return Clips(true, {"wrong steering": wrong})


def drive(seed: int, frames: int, wrong: float = 0.0) -> np.ndarray:
    """A video from the same place and with the same commands but for `wrong`, which is added to the steering."""
    world, driver = ToyWorld(seed, HEIGHT, WIDTH, weather="clear"), Driver(seed)
    for _ in range(20):
        world.step(*driver.act(world))
    other, made = world.copy(), []
    for _ in range(frames):
        steer, throttle, brake = driver.act(world)
        world.step(steer, throttle, brake)
        other.step(float(np.clip(steer + wrong, -1, 1)), throttle, brake)
        made.append(other.render())
    return np.stack(made)
