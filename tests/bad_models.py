"""Sessions over toyroad that go wrong, each in one way, and one that does not: openers for the gate (`serving.pack.Opener`)."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from roadcast.serving.manifest import Opening
from roadcast.serving.mock import MockSession
from roadcast.serving.pack import seal

HEIGHT, WIDTH = 64, 128


def good(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return MockSession(HEIGHT, WIDTH)


class Frozen(MockSession):
    def step(self, action):
        return self._world.render()


class Blank(MockSession):
    def step(self, action):
        return np.zeros_like(super().step(action))


class Steerless(MockSession):
    def step(self, action):
        return super().step({**action, "steer": 0.0})


class Slow(MockSession):
    def step(self, action):
        time.sleep(1.2 / self.fps)
        return super().step(action)


class Forgetful(MockSession):
    """Its frames are not those that it made when it was pushed."""

    def reset(self, scene=0, seed=0):
        return super().reset(scene, seed + 1)


def frozen(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return Frozen(HEIGHT, WIDTH)


def blank(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return Blank(HEIGHT, WIDTH)


def forgetful(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return Forgetful(HEIGHT, WIDTH)


def steerless(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return Steerless(HEIGHT, WIDTH)


def slow(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    return Slow(HEIGHT, WIDTH)


def crashing(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hanging(folder: Path, opening: Opening, device: str, compiled: bool) -> MockSession:
    time.sleep(600)
    raise AssertionError


def sealed(folder: Path, opener=good) -> Path:
    """A version's folder that holds nothing but golden rollouts of what `opener` opens, and a manifest."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}\n")
    seal(folder, Opening(), {"psnr": 20.0}, opener(folder, Opening(), "cpu", False))
    return folder
