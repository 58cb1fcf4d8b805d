"""A pool of worlds as it is served: what a tick of many sessions costs, and what their drivers see through the real server.

    python -m benchmarks.gpu.serving --preset tiny --seats 8 --device cuda [--compiled] [--micro]

serves a random world, as `roadcast serve` serves a trained one; the part `drivers` starts it in a process of its own.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Iterator

import torch
from benchmarks.gpu.driving import seconds_of
from benchmarks.gpu.machine import Machine, Row, attempt
from benchmarks.scaling_fleet import random_world

from roadcast.serving.compiled import CudaGraph, compiled
from roadcast.serving.pool import ModelBackend
from roadcast.training.scenes import Scenes

SESSIONS, COMPILED_SESSIONS = (1, 2, 4, 8, 16, 32, 64), (1, 8, 64)
DRIVERS, FPS, SECONDS = (1, 8, 32), 30.0, 8.0


def backend_of(machine: Machine, preset: str, slots: int, widths: tuple[int, ...] | None = None) -> ModelBackend:
    """A pool of so many slots, 1 pass a frame, over a random scene as long as the model's context."""
    config = machine.config(preset)
    world = random_world(config, machine.device, machine.precision)
    shape = 1, config.dynamics.context_frames
    pixels = torch.randint(0, 256, (*shape, world.height, world.width, 3), dtype=torch.uint8)
    actions_BFA = torch.zeros(*shape, len(config.dynamics.actions))
    scenes = Scenes(["random"], pixels, actions_BFA, torch.ones_like(actions_BFA, dtype=torch.bool))
    return ModelBackend(world, scenes, slots, steps=1, look_every=0, widths=widths)


# ---- a tick


def batching(machine: Machine, preset: str) -> Iterator[Row]:
    """A row for every number of sessions, all stepped in every tick: as the code is written, as a CUDA graph, compiled."""
    name: Row = {"world": preset, "how": "eager"}
    yield attempt(name | {"sessions": SESSIONS[-1]}, lambda: {"widths": equal_widths(machine, preset)})
    ways = {
        "eager": (None, SESSIONS),
        "eager, CUDA graph": (CudaGraph, SESSIONS),
        "compiled": (compiled, COMPILED_SESSIONS),
    }
    for how, (make, counts) in ways.items():
        for sessions in counts[:2] if machine.micro else counts:
            if machine.on_gpu or "CUDA" not in how:
                name = {"world": preset, "how": how, "sessions": sessions}
                yield attempt(name, lambda make=make, sessions=sessions: ticked(machine, preset, sessions, make))


def equal_widths(machine: Machine, preset: str) -> str:
    """The widths that give a row the same bits here: who drives alone pays for the narrowest (serving/pool.py)."""
    slots = 4 if machine.micro else SESSIONS[-1]
    return " ".join(map(str, backend_of(machine, preset, slots).widths))


def ticked(machine: Machine, preset: str, sessions: int, make) -> Row:
    """Frames a second of all sessions together, from the commands to the pictures in the computer's memory."""
    machine.forget_peak()
    backend = backend_of(machine, preset, sessions, (sessions,))
    if make is not None:
        backend.compile(make)
    commands = {slot: {"steer": 0.1, "throttle": 0.3} for slot in range(sessions)}
    taken = seconds_of(machine, lambda: backend.step(commands))
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98]
    return {
        "frames_per_s": sessions / p50, "tick_ms_p50": 1e3 * p50, "tick_ms_p99": 1e3 * p99, "peak_GB": machine.peak_gb(),
    }  # fmt: skip


# ---- drivers


def drivers(machine: Machine, preset: str) -> Iterator[Row]:
    """A row for so many drivers in real time, through WebSockets over loopback. Needs what the extra `serve` installs."""
    for how, options in (("eager", ()), ("compiled", ("--compiled",))):
        for seats in DRIVERS[:1] if machine.micro else DRIVERS:
            name: Row = {"world": preset, "how": how, "drivers": seats}
            yield attempt(name, lambda seats=seats, options=options: driven(machine, preset, seats, options))
        if machine.micro:
            return


def driven(machine: Machine, preset: str, seats: int, options: tuple[str, ...]) -> Row:
    """Frames a second of the slowest driver; from a command to the frame that answers it, received whole; gaps between frames."""
    from benchmarks.serving_clients import drive_together
    from benchmarks.serving_host import hosted

    command = [sys.executable, "-m", "benchmarks.gpu.serving", "--preset", preset, "--seats", str(seats)]
    command += ["--device", machine.device, *options, *["--micro"] * machine.micro]
    with hosted(command) as host:
        seen = asyncio.run(drive_together(host.url, seats, 2.0 if machine.micro else SECONDS))
    key, gap = (statistics.quantiles(values, n=100, method="inclusive") for values in (seen.key_ms, seen.gap_ms))
    return {
        "fps_least": seen.fps, "action_to_frame_ms_p50": key[49], "action_to_frame_ms_p99": key[98],
        "gap_ms_p50": gap[49], "gap_ms_p99": gap[98],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seats", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--micro", action="store_true")
    given = parser.parse_args()

    from roadcast.web.app import create_app
    from roadcast.web.listen import listen
    from roadcast.web.server import Server

    def open_backend() -> ModelBackend:
        widths = (given.seats,) if given.compiled else None  # each is a minute of compiling
        backend = backend_of(Machine(given.device, given.micro), given.preset, given.seats, widths)
        if given.compiled:
            backend.compile()
        return backend

    listen(create_app(Server({"random": open_backend}, fps=FPS), "random"), "127.0.0.1", 0)


if __name__ == "__main__":
    main()
