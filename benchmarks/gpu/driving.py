"""How fast worlds are driven, one or many at once: as the code is written, compiled, and replayed as CUDA graphs."""

import functools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from benchmarks.gpu.machine import Machine, Row, attempt
from benchmarks.scaling_fleet import Fleet, random_world
from torch._inductor import config as inductor

from roadcast.config import Config
from roadcast.flow.rollout import Draft
from roadcast.nn.quantize import kernel
from roadcast.serving.compiled import CudaGraph, Step

SECONDS, FEWEST, QUEUED = (
    2.0,
    10,
    20,
)  # a row is timed for so long; frames at the least; steps put in the device's queue at once


def ways(machine: Machine, fleet: Fleet) -> dict[str, Callable[[], Step]]:
    """What makes the fleet's step run in each way: what `serving.compiled` does, one thing at a time, for their shares to be seen."""
    step, drive, draft = fleet.advance, fleet.drive, fleet.draft()
    assert drive is not None

    @functools.cache
    def compiled() -> Step:
        with inductor.patch(freezing=True):
            fast = torch.compile(step, fullgraph=True, dynamic=False)
            fast(drive, draft)
        return fast

    found = {
        "eager": lambda: step,
        "eager, CUDA graph": lambda: CudaGraph(step, drive, draft),
        "compiled": compiled,
        "compiled, CUDA graph": lambda: CudaGraph(compiled(), drive, draft),
    }
    return {how: make for how, make in found.items() if machine.on_gpu or "CUDA" not in how}


def drive(machine: Machine, preset: str, steps: int, worlds: int = 1, weights: str = "full") -> Iterator[Row]:
    """A row for every way; `worlds` rows of one rollout, K = `steps` passes a frame."""
    world = random_world(machine.config(preset), machine.device, machine.precision, weights)
    fleet = Fleet(world, list(range(worlds)), steps)
    for how, make in ways(machine, fleet).items():
        name: Row = {"world": preset, "passes": steps, "worlds": worlds, "weights": weights, "how": how}
        yield attempt(name, lambda make=make: timed(machine, fleet, make))


def timed(machine: Machine, fleet: Fleet, make: Callable[[], Step]) -> Row:
    """Frames a second of all worlds together, and where a frame's time goes.

    p50_ms, p99_ms  from the commands to the pictures in the computer's memory
    step_ms         the networks alone, steps queued one after another
    draft_ms        drawing the noise, on the CPU, and bringing it to the device
    ready_s         making the step: compiling, capturing, and its first frame
    """
    machine.forget_peak()
    begun = time.perf_counter()
    fleet.advance = make()
    fleet.step()
    ready = time.perf_counter() - begun
    fleet.step()
    whole = seconds_of(machine, fleet.step)
    draft = statistics.median(seconds_of(machine, fleet.draft))
    waiting = fleet.draft()
    step = statistics.median(seconds_of(machine, lambda: queued(fleet, waiting), calls=3)) / QUEUED
    p50, p99 = statistics.median(whole), statistics.quantiles(whole, n=100, method="inclusive")[98]
    return {
        "frames_per_s": len(fleet.state.noise) / p50, "p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99, "step_ms": 1e3 * step,
        "draft_ms": 1e3 * draft, "ready_s": ready, "peak_GB": machine.peak_gb(),
    }  # fmt: skip


def queued(fleet: Fleet, draft: Draft) -> None:
    """`QUEUED` steps from one draft, with no word to the CPU between them."""
    assert fleet.drive is not None
    for _ in range(QUEUED):
        fleet.advance(fleet.drive, draft)


def seconds_of(machine: Machine, work: Callable[[], object], calls: int = FEWEST) -> list[float]:
    """Seconds of each call, of as many as fit in `SECONDS` and `calls` at the least (no more, in micro)."""
    taken, ends = [], time.perf_counter() + (0.0 if machine.micro else SECONDS)
    while len(taken) < calls or time.perf_counter() < ends:
        machine.wait()
        begun = time.perf_counter()
        work()
        machine.wait()
        taken.append(time.perf_counter() - begun)
    return taken


def eight_bits(machine: Machine, preset: str, weights: str) -> Iterator[Row]:
    """One pass a frame with weights of eight bits: by what kernel, how far from the full weights, and how fast."""
    name: Row = {"world": preset, "weights": weights, "kernel": kernel(weights, machine.device)}
    yield attempt(name, lambda: {"error_of_latents": error_of(machine, machine.config(preset), weights)})
    yield from drive(machine, preset, 1, weights=weights)


def error_of(machine: Machine, config: Config, weights: str) -> float:
    """Root mean square of what rounding moves in the next latents, over theirs; context, commands and noise the same."""
    latents = []
    for choice in ("full", weights):
        fleet = Fleet(random_world(config, machine.device, machine.precision, choice), [0], 1)
        assert fleet.drive is not None
        latents.append(fleet.rollout.sample(fleet.drive.rollout, fleet.draft()))
    full, near = latents
    return ((near - full).norm() / full.norm()).item()
