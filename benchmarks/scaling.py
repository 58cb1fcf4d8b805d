"""How the time and the arithmetic of a frame grow with context, resolution, worlds and parameters, and with the rollout's length.

    python benchmarks/scaling.py [--curves context worlds] [--rounds 15] [--frames 2000] [--compiled] [--out FOLDER] [--quick]

One thing grows at a time and all else is as in the preset `tiny`: one world, its own passes a frame, random weights, float32, one
thread. A frame goes from the command to the picture in memory. All settings take turns, round by round, so that whatever else the
machine does meets all alike; told are medians over rounds, of the processor's time and of the clock's. Fitted and plotted is the
processor's, which a busy machine stretches least. `exponent` is e in `ms ~ x^e`, by least squares in log-log over all points, and
`at the end` between the last two alone, where what does not grow counts least.

The long rollout is timed frame by frame in turns with young ones, begun anew every `WINDOW` frames: were there a cost of age, it
would be the difference, whatever the machine's speed does meanwhile. --out takes the picture scaling.png; the last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from scaling_chart import Panel, chart
from scaling_fleet import Fleet, flop_of_a_step, random_world

from roadcast.config import Config, override
from roadcast.presets import preset_config

TINY = preset_config("tiny")
HEAD_DIM = TINY.dynamics.width // TINY.dynamics.heads
WINDOW = 50
AXES = {
    "context": "frames in sight",
    "resolution": "pixels",
    "worlds": "worlds in one rollout",
    "parameters": "parameters of the dynamics",
}
HEAD = "| grows | to | processor ms | clock ms | GFLOP |"


@dataclass(frozen=True)
class Setting:
    """What may grow, and else is `tiny`: frames in sight, pixels, worlds, width and depth of the dynamics (heads as wide as they were)."""

    context: int = TINY.dynamics.context_frames
    pixels: tuple[int, int] = (TINY.data.height, TINY.data.width)
    worlds: int = 1
    network: tuple[int, int] = (TINY.dynamics.width, TINY.dynamics.depth)

    def config(self) -> Config:
        (height, width), (channels, depth) = self.pixels, self.network
        heads = channels // HEAD_DIM
        return override(
            TINY,
            [
                f"data.height={height}", f"data.width={width}", f"dynamics.context_frames={self.context}",
                f"dynamics.width={channels}", f"dynamics.depth={depth}", f"dynamics.heads={heads}", f"dynamics.kv_heads={heads // 2}",
            ],
        )  # fmt: skip


SETTINGS = {
    "context": [Setting(context=frames) for frames in (4, 8, 16, 32, 64)],
    "resolution": [Setting(pixels=hw) for hw in ((64, 128), (96, 192), (128, 256), (192, 384), (256, 512))],
    "worlds": [Setting(worlds=worlds) for worlds in (1, 2, 4, 8, 16)],
    "parameters": [Setting(network=wd) for wd in ((128, 6), (192, 8), (256, 8), (384, 10), (512, 10))],
}


@dataclass
class Point:
    """One setting and its seconds a frame of one world [rounds]: of the processor, and by the clock."""

    setting: Setting
    fleet: Fleet
    flop: float
    processor_s: list[float] = field(default_factory=list)
    clock_s: list[float] = field(default_factory=list)

    @classmethod
    def open(cls, setting: Setting, compiled: bool) -> "Point":
        """The setting's worlds, warm."""
        fleet = Fleet(random_world(setting.config()), list(range(setting.worlds)))
        flop = flop_of_a_step(fleet.step)
        if compiled:
            fleet.compile()
        fleet.step()
        return cls(setting, fleet, flop / setting.worlds)

    def take_turn(self, seconds: float) -> None:
        """Frames for about so long, one at the least."""
        frames, worked, begun = 0, time.process_time(), time.perf_counter()
        while not frames or time.perf_counter() - begun < seconds:
            self.fleet.step()
            frames += self.setting.worlds
        self.processor_s.append((time.process_time() - worked) / frames)
        self.clock_s.append((time.perf_counter() - begun) / frames)

    @property
    def ms(self) -> float:
        """Of the processor, the median over rounds."""
        return 1e3 * float(np.median(self.processor_s))

    def amount(self, curve: str) -> tuple[float, str]:
        """What this curve's axis counts here, as a number and in words."""
        height, width = self.setting.pixels
        if curve == "resolution":
            return height * width, f"{height}x{width}"
        if curve == "parameters":
            count = sum(p.numel() for p in self.fleet.world.dynamics.parameters())
            return count, f"{count / 1e6:.2g} M"
        value = getattr(self.setting, curve)
        return value, str(value)


def exponent(x: Iterable[float], y: Iterable[float]) -> float:
    """The slope of log y over log x, by least squares."""
    return float(np.polyfit(np.log(list(x)), np.log(list(y)), 1)[0])


def exponents(x: list[float], y: list[float]) -> dict[str, float]:
    """Over all points, and between the last two."""
    return {"exponent": round(exponent(x, y), 2), "at the end": round(exponent(x[-2:], y[-2:]), 2)}


def grow_old(frames: int, compiled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds a frame of the processor [frames / WINDOW], medians of windows: of one long rollout, and of young ones beside it."""
    old, young = (Point.open(Setting(), compiled).fleet for _ in range(2))
    ms = []
    for _ in range(frames // WINDOW):
        young.reset([0])
        young.step()
        window = [(processor_ms(old), processor_ms(young)) for _ in range(WINDOW)]
        ms.append(np.median(window, axis=0))
    old_ms, young_ms = np.array(ms).T
    return old_ms, young_ms


def processor_ms(fleet: Fleet) -> float:
    """Of one frame."""
    worked = time.process_time()
    fleet.step()
    return 1e3 * (time.process_time() - worked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=2000, help="of the long rollout")
    parser.add_argument("--compiled", action="store_true", help="by torch.compile, about a minute for every setting")
    parser.add_argument("--out", type=Path, help="folder for scaling.png")
    parser.add_argument("--quick", action="store_true", help="2 rounds and 100 frames")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.rounds, given.frames = 2, 100

    settings = dict.fromkeys(setting for curve in given.curves for setting in SETTINGS[curve])
    points = {setting: Point.open(setting, given.compiled) for setting in settings}
    for _ in range(given.rounds):
        for point in points.values():
            point.take_turn(0.0 if given.quick else 0.1)

    print(f"{HEAD}\n|{' --- |' * HEAD.count(' |')}")
    figures, panels = {}, []
    for curve in given.curves:
        found = [points[setting] for setting in SETTINGS[curve]]
        x, words = (list(side) for side in zip(*(point.amount(curve) for point in found)))
        ms, gflop = [point.ms for point in found], [point.flop / 1e9 for point in found]
        for point, name in zip(found, words):
            clock = 1e3 * float(np.median(point.clock_s))
            print(f"| {curve} | {name} | {point.ms:.1f} | {clock:.1f} | {point.flop / 1e9:.3f} |")
        figures[curve] = {"ms": exponents(x, ms), "GFLOP": exponents(x, gflop)}
        panels.append(Panel(AXES[curve], words, x, ms, gflop))

    old_ms, young_ms = grow_old(given.frames, given.compiled)
    at = WINDOW * (np.arange(len(old_ms)) + 0.5)
    late = slice(len(at) // 2, None)
    figures["rollout"] = {
        "frames": given.frames,
        "exponent of old over young": round(exponent(at, old_ms / young_ms), 3),
        "old over young": round(float(np.median(old_ms[late] / young_ms[late])), 3),
    }
    print(
        f"| rollout | {given.frames} | {np.median(old_ms[late]):.1f} beside {np.median(young_ms[late]):.1f} young | | |"
    )
    if given.out:
        how = "compiled" if given.compiled else "eager"
        cv2.imwrite(str(given.out / "scaling.png"), chart(panels, (at, old_ms, young_ms), how))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
