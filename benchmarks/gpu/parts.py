"""All that is measured on one GPU, the most important first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from benchmarks.attention import measure, shapes
from benchmarks.gpu.driving import drive, eight_bits
from benchmarks.gpu.equality import equal
from benchmarks.gpu.loop import loop
from benchmarks.gpu.machine import Machine, Row
from benchmarks.gpu.serving import batching, drivers
from benchmarks.gpu.training import train


@dataclass(frozen=True)
class Part:
    """A table: what it is to show, and what finds its rows."""

    goal: str
    rows: Callable[[Machine], Iterator[Row]]


def attention(machine: Machine) -> Iterator[Row]:
    """A layer of `base` at the training batch of four clips, by mask and back-end."""
    device, dtype = torch.device(machine.device), torch.bfloat16 if machine.on_gpu else torch.float32
    chosen = {"tiny step": shapes("tiny", 1)["tiny step"]} if machine.micro else shapes("base", 4)
    with torch.enable_grad():
        for name, shape in chosen.items():
            for row in measure(shape, device, dtype, 0.0 if machine.micro else 0.1):
                yield {"shape": name} | row


PARTS = {
    "base": Part("base, 1 pass: 200 frames/s; compiled as a CUDA graph twice as fast as eager", partial(drive, preset="base", steps=1)),
    "large": Part("large, 1 pass: 60 frames/s", partial(drive, preset="large", steps=1)),
    "fleet": Part("64 worlds of base in one rollout, 1 pass: 2,000 frames/s together", partial(drive, preset="base", steps=1, worlds=64)),
    "training": Part("a step of base on 4 clips of 32 frames: below 8 GB", partial(train, preset="base")),
    "loop": Part("base, clips of 32 frames from cached latents: 100 a second, MFU 0.4, data wait below 2 %", partial(loop, preset="base")),
    "equality": Part("differences are within what is allowed", partial(equal, preset="small")),
    "base-fp8": Part("base in fp8: faster than in bfloat16, and near it", partial(eight_bits, preset="base", weights="fp8")),
    "batching-tiny": Part("sessions of tiny stepped together; compiled twice as fast as eager", partial(batching, preset="tiny")),
    "batching-small": Part("sessions of small stepped together; compiled twice as fast as eager", partial(batching, preset="small")),
    "drivers-tiny": Part("drivers of tiny at 30 frames/s, through the server", partial(drivers, preset="tiny")),
    "drivers-small": Part("drivers of small at 30 frames/s, through the server", partial(drivers, preset="small")),
    "attention": Part("which back-end of attention is the fastest, forwards and both ways", attention),
    "base-int8": Part("base in int8_dynamic", partial(eight_bits, preset="base", weights="int8_dynamic")),
    "base-2": Part("base, 2 passes", partial(drive, preset="base", steps=2)),
    "large-fp8": Part("large in fp8", partial(eight_bits, preset="large", weights="fp8")),
    "large-2": Part("large, 2 passes", partial(drive, preset="large", steps=2)),
    "base-4": Part("base, 4 passes", partial(drive, preset="base", steps=4)),
    "large-int8": Part("large in int8_dynamic", partial(eight_bits, preset="large", weights="int8_dynamic")),
    "large-4": Part("large, 4 passes", partial(drive, preset="large", steps=4)),
}  # fmt: skip
