"""What it gains to drive several sessions together: frames a second of 1, 2, 4, 8, 16 worlds in one step, against one alone.

    python benchmarks/batching.py [--preset tiny] [--sessions 1 2 4 8 16] [--device cuda] [--compiled] [--plot batching.png] [--quick]

Networks have random weights: their time does not depend on them. Each row is one engine over one model with so many slots, all of them
stepped in every tick, from the commands to the pictures in memory, without looks at the uncertainty. `widths` are the batch sizes that
give equal bits on this machine (serving/pool.py). With --compiled the same rows follow with code by torch.compile, for the width of all
sessions alone, a minute or more each. The last line is one JSON object.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from drawing import INK, PAPER, QUIET, SCALE, line, write
from scaling_fleet import random_world

from roadcast.config import Config
from roadcast.presets import preset_config
from roadcast.serving.engine import Engine
from roadcast.serving.pool import ModelBackend
from roadcast.training.scenes import Scenes

COLOURS = {"eager": (150, 90, 20), "compiled": (60, 120, 210)}  # BGR
BAR = 30
"""Points between two bars of one number of sessions."""
COLUMNS = (
    "how",
    "sessions",
    "widths",
    "tick ms p50",
    "tick ms p99",
    "frames/s together",
    "frames/s each",
    "against one",
    "against eager",
)


def open_engine(config: Config, slots: int, steps: int, device: str, precision: str, compiled: bool) -> Engine:
    """An engine with a session in every slot, over random weights and a random scene as long as the model's context."""
    world = random_world(config, device, precision, "full")
    frames = config.dynamics.context_frames
    shape = (1, frames, len(config.dynamics.actions))
    pixels = torch.randint(0, 256, (1, frames, world.height, world.width, 3), dtype=torch.uint8)
    scenes = Scenes(["random"], pixels, torch.zeros(shape), torch.ones(shape, dtype=torch.bool))
    backend = ModelBackend(world, scenes, slots, steps, look_every=0, widths=[slots] if compiled else None)
    if compiled:
        backend.compile()
    engine = Engine(backend)
    for seed in range(slots):
        engine.create(seed=seed)
    return engine


def tick_seconds(engine: Engine, ticks: int, warm: int = 5) -> list[float]:
    """Seconds of each of `ticks` steps of all sessions, after `warm` more."""
    taken = []
    for i in range(warm + ticks):
        begun = time.perf_counter()
        engine.step({id: {"steer": 0.1, "throttle": 0.3} for id in engine.seats})
        if i >= warm:
            taken.append(time.perf_counter() - begun)
    return taken


def chart(rates: dict[str, dict[int, float]], title: str) -> np.ndarray:
    """BGR uint8: frames a second of so many sessions together, each way of running beside the other; and one session's, eager."""
    wide, high, left, top = 90, 180, 20, 40
    eager = rates["eager"]
    image = np.full((SCALE * (top + high + 50), SCALE * (2 * left + wide * len(eager)), 3), PAPER, np.uint8)
    one, most = next(iter(eager.values())), max(fps for rate in rates.values() for fps in rate.values())
    write(image, title, left, 20)
    for n, sessions in enumerate(eager):
        middle = left + wide * (n + 0.5)
        write(image, str(sessions), middle, top + high + 24, QUIET, align=0.5)
        for m, (how, rate) in enumerate(rates.items()):
            x, y = middle + BAR * (m - (len(rates) - 1) / 2), top + high * (1 - rate[sessions] / most)
            corners = [(round(SCALE * u), round(SCALE * v)) for u, v in ((x - 7, y), (x + 7, top + high))]
            cv2.rectangle(image, *corners, COLOURS[how], cv2.FILLED)
            write(image, f"{rate[sessions]:.0f}", x, y - 6, INK, 0.34, align=0.5)
    level = top + high * (1 - one / most)
    line(image, left, level, left + wide * len(eager), level, QUIET, 1)
    words = f"sessions; bars: frames/s together ({' beside '.join(rates)}); line: one session, eager"
    write(image, words, left, top + high + 42, QUIET, 0.34)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--sessions", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=1, help="network passes a frame")
    parser.add_argument("--ticks", type=int, default=100, help="timed in each row")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.sessions, given.ticks = [1, 4], 10

    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    rates: dict[str, dict[int, float]] = {how: {} for how in ("eager", "compiled")[: 1 + given.compiled]}
    for how, rate in rates.items():
        for sessions in given.sessions:
            config = preset_config(given.preset)
            engine = open_engine(config, sessions, given.steps, given.device, given.precision, how == "compiled")
            taken = tick_seconds(engine, given.ticks)
            p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98]
            rate[sessions] = sessions / p50
            against = rate[sessions] / rate[given.sessions[0]], rate[sessions] / rates["eager"][sessions]
            print(
                f"| {how} | {sessions} | {' '.join(map(str, engine.backend.widths))} | {1e3 * p50:.1f} | {1e3 * p99:.1f} "
                f"| {rate[sessions]:.1f} | {1 / p50:.1f} | {against[0]:.2f} | {against[1]:.2f} |",
                flush=True,
            )
    if given.plot:
        cv2.imwrite(str(given.plot), chart(rates, f"{given.preset}, {given.device}"))
    most, eager = given.sessions[-1], rates["eager"]
    figures = {f"fps_{n}": fps for n, fps in eager.items()} | {
        f"speedup_{most}": eager[most] / eager[given.sessions[0]]
    }
    for n, fps in rates.get("compiled", {}).items():
        figures |= {f"compiled_fps_{n}": fps, f"compiled_speedup_{n}": fps / eager[n]}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
