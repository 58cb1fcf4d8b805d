"""Training by the loop of `roadcast train` itself, from cached latents: clips a second, MFU, the wait for data."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from benchmarks.gpu.machine import MICRO, Machine, Row, attempt
from benchmarks.train import configure, measure, record

MODES = (("selective", 16, True), ("selective", 16, False), ("none", 8, True), ("block", 32, True))
"""remat, clips of a step, blocks compiled."""


@torch.enable_grad()
def loop(machine: Machine, preset: str) -> Iterator[Row]:
    """The dynamics of a preset, the longest clips it trains on, in several modes; latents are those of a random tokenizer."""
    steps, sizes = (4, list(MICRO)) if machine.micro else (20, [])
    with tempfile.TemporaryDirectory() as scratch:
        for remat, batch, compiled in MODES[:1] if machine.micro else MODES:
            name: Row = {"remat": remat, "compiled": str(compiled)}
            changes = [f"train.dynamics.remat={remat}", f"train.dynamics.batch={batch}", *sizes]
            changes.append(f"compute.compile={str(compiled and not machine.micro).lower()}")
            config = configure("tiny" if machine.micro else preset, "dynamics", steps, changes)

            def figures(config=config, run=f"{remat}-{batch}-{compiled}") -> Row:
                config.data.reel = str(record(config, Path(scratch)))
                return measure(run, "dynamics", config, Path(scratch), machine.device)

            yield attempt(name, figures)
