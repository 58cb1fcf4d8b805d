"""A server is killed under its driver, who goes on at another one by replay: after how long, and whether with the same frames."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from serving_host import hosted

from roadcast.client import Drive, Moved, connect
from roadcast.web.messages import Create
from roadcast.web.protocol import Frame


@dataclass(frozen=True)
class Resumed:
    """How a driver fared whose server was killed.

    seconds   from the kill to the first frame of the other server
    steps     that the other server had to replay
    compared  frames seen on either server that were held against those of a session that drove the whole log in one go
    equal     how many of them were the same, byte for byte
    """

    seconds: float
    steps: int
    compared: int
    equal: int


def resume(command: Sequence[str], steps: int, after: int) -> Resumed:
    """Drive a server of this command for so many steps, kill it, and drive on for `after` more."""
    seen: dict[int, str] = {}
    with hosted(command) as other:
        with hosted(command) as one, connect(one.url, Create(seed=3)) as drive:
            look(drive, seen, steps)
            one.kill()
            killed = time.monotonic()
            again = lost(drive, seen)
        with connect(other.url, again) as drive:
            first = drive.frame()
            seconds = time.monotonic() - killed
            keep(seen, first)
            look(drive, seen, first.step + after)
            told = drive.log()
        reference = replayed(other.url, Create(scene=told.scene, seed=told.seed, log=told.log, show=True))
    both = [step for step in seen if step in reference]
    return Resumed(seconds, first.step, len(both), sum(seen[step] == reference[step] for step in both))


def look(drive: Drive, seen: dict[int, str], until: int) -> None:
    """Drive up to a step, with controls that never rest, and keep what is seen."""
    while True:
        frame = drive.step(steer=0.3 * (-1) ** (drive.action_id // 20), throttle=0.4)
        keep(seen, frame)
        if frame.step >= until:
            return


def lost(drive: Drive, seen: dict[int, str]) -> Create:
    """What is still on its way, and then what to go on with."""
    try:
        while True:
            keep(seen, drive.frame())
    except Moved as moved:
        return moved.again


def replayed(url: str, create: Create) -> dict[int, str]:
    """Every frame of a log, driven in a session that nothing befalls."""
    frames: dict[int, str] = {}
    total = sum(int(times) for times, *_ in create.log)
    with connect(url, create) as drive:
        drive.hurry()
        while max(frames, default=0) < total:
            keep(frames, drive.frame())
    return frames


def keep(seen: dict[int, str], frame: Frame) -> None:
    """Note a frame under its step."""
    seen[frame.step] = hashlib.sha256(frame.picture).hexdigest()
