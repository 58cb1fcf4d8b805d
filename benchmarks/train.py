"""How fast training goes: samples a second, the share of the machine's arithmetic that reaches the networks, the wait for data.

    python benchmarks/train.py [--presets tiny small] [--stages dynamics] [--steps 30] [--device cuda] [--quick]

Each row is a stage of a preset trained for some steps by `roadcast train`'s own loop, on a reel of the built-in world, the dynamics
from cached latents: what is read from the log is what a user's run logs. Its floor is the step's floating-point operations
(counted, recomputation included) over this machine's measured rate of matrix products. The last line is one JSON object.
"""

from dataclasses import dataclass

COLUMNS = (
    "world",
    "stage",
    "clips x frames",
    "samples/s",
    "frames/s",
    "MFU",
    "of floor",
    "step ms p50",
    "p99",
    "data wait",
)
WARM = 2
"""Lines of the log that are not counted: the first steps allocate, and caches are cold."""


@dataclass
class Row:
    """What one stage's log says, medians over its lines."""

    world: str
    stage: str
    clips: str
    samples_per_s: float
    frames_per_s: float
    mfu: float
    floor_fraction: float
    p50_s: float
    p99_s: float
    data_wait: float

    def line(self) -> str:
        return (
            f"| {self.world} | {self.stage} | {self.clips} | {self.samples_per_s:.2f} | {self.frames_per_s:.0f} | {self.mfu:.2f} "
            f"| {self.floor_fraction:.2f} | {1e3 * self.p50_s:.0f} | {1e3 * self.p99_s:.0f} | {100 * self.data_wait:.1f} % |"
        )
