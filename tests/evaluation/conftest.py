"""A small reel whose picture really moves with its steering, and worlds whose scores are known beforehand."""

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording, Signal

HEIGHT, WIDTH, FPS, FRAMES, LAG, GAIN = 32, 64, 10.0, 70, 2, 4.0


def shift(image: np.ndarray, pixels: float) -> np.ndarray:
    """The image moved right by so many pixels, what leaves on one side returning on the other."""
    x = (np.arange(image.shape[1], dtype=np.float32) - pixels) % image.shape[1]
    wide = np.concatenate([image, image[:, :1]], axis=1)
    grid = np.meshgrid(x, np.arange(image.shape[0], dtype=np.float32))
    return cv2.remap(wide, grid[0].astype(np.float32), grid[1].astype(np.float32), cv2.INTER_LINEAR)


def texture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((HEIGHT, 3 * WIDTH, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)[:, WIDTH : 2 * WIDTH]
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).astype(np.uint8)


def drive(seed: int) -> Recording:
    """A drive whose picture turns by GAIN pixels a frame at full steer, LAG frames after the command."""
    rng = np.random.default_rng(100 + seed)
    steer = cv2.GaussianBlur(rng.normal(size=(FRAMES, 1)), (1, 21), 3)[:, 0]
    steer = np.clip(steer / np.abs(steer).max(), -1, 1).astype(np.float32)
    t_ns = (np.arange(FRAMES) * 1e9 / FPS).astype(np.int64)
    place = GAIN * np.cumsum(np.concatenate([np.zeros(LAG), steer[:-LAG]]))
    pictures = [shift(texture(seed), p) for p in place]
    signals = {"steer": Signal(t_ns, steer), "throttle": Signal(t_ns, np.full(FRAMES, 0.5, dtype=np.float32))}
    return Recording(f"drive{seed}", "test", lambda: iter(zip(t_ns.tolist(), pictures)), signals)


@pytest.fixture(scope="session")
def reel(tmp_path_factory) -> Reel:
    path = tmp_path_factory.mktemp("evaluation") / "reel"
    with ReelWriter(path, fps=FPS, height=HEIGHT, width=WIDTH) as writer:
        for seed, split in enumerate(("val", "val", "test")):
            writer.add(drive(seed), split)
    return Reel(path)


class FakeWorld:
    """A world that repeats the last frame; its tokenizer changes nothing."""

    fps, height, width, actions = FPS, HEIGHT, WIDTH, ("steer", "throttle")

    def reconstruct(self, frames):
        return frames.clone()

    def imagine(self, frames, actions, known, seeds, steps=None):
        assert actions.shape[:2] == known.shape[:2]
        return frames[:, -1:].expand(-1, actions.shape[1] - frames.shape[1], -1, -1, -1).clone()


class TurningWorld(FakeWorld):
    """Moves the last frame by the command: right by `gain` pixels a frame at full steer left, plus a forced drift."""

    def __init__(self, gain: float, drift: float = 0.0):
        self.gain, self.drift = gain, drift

    def imagine(self, frames, actions, known, seeds, steps=None):
        made = []
        for clip, command in zip(frames.numpy(), actions[:, frames.shape[1] :, 0].numpy()):
            places = np.cumsum(self.gain * command + self.drift)
            made.append(np.stack([shift(clip[-1], place) for place in places]))
        return torch.from_numpy(np.stack(made))


class KnowingWorld(FakeWorld):
    """Knows the reel by heart, and spoils what it shows: frame h (1, 2, ...) of a rollout becomes `spoil(frame, h, rng)`."""

    def __init__(self, reel: Reel, spoil=lambda frame, h, rng: frame):
        self.pictures = [reel.read(f) for f in range(reel.frames)]
        self.place = {picture.tobytes(): f for f, picture in enumerate(self.pictures)}
        self.spoil = spoil

    def imagine(self, frames, actions, known, seeds, steps=None):
        made = []
        for clip, seed in zip(frames.numpy(), seeds):
            rng, last = np.random.default_rng(seed), self.place[clip[-1].tobytes()]
            horizon = actions.shape[1] - frames.shape[1]
            made.append(np.stack([self.spoil(self.pictures[last + h], h, rng) for h in range(1, horizon + 1)]))
        return torch.from_numpy(np.stack(made))


@pytest.fixture(scope="session")
def worlds():
    """The fake worlds by name, as classes."""
    return {"frozen": FakeWorld, "turning": TurningWorld, "knowing": KnowingWorld}
