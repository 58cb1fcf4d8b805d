"""How fast a world is driven, and how near that is to what the machine could do: frames a second, milliseconds a frame, floors.

    python benchmarks/inference.py [--presets tiny small] [--steps 1 2 4 8] [--device cuda] [--quick]

Networks have random weights: their time does not depend on them. A row is one session, stepped through `ModelSession`, from the
command to the picture in memory. Its floors are the arithmetic (floating-point operations over the machine's measured rate of
matrix products) and the bytes (weights read once a pass, keys and values, over its measured bandwidth); `of floor` is the larger
of both over the time taken. The machine's rates are measured before each row, for they drift. The last line is one JSON object.
"""

import argparse
import json
import resource
import statistics
import time
from dataclasses import dataclass
from functools import partial

import torch
from scaling_fleet import flop_of_a_step, random_world
from torch.utils import _pytree as pytree

from roadcast.config import Config, override
from roadcast.parallel.precision import measure_bandwidth, measure_matmul
from roadcast.presets import preset_config
from roadcast.serving.session import PRECISIONS, ModelSession
from roadcast.training.scenes import Scenes

COLUMNS = (
    "world", "passes", "how", "frames/s", "ms p50", "ms p99", "first frame ms", "GFLOP", "arithmetic floor ms", "byte floor ms",
    "of floor", "MB",
)  # fmt: skip


@dataclass
class Row:
    """One session's figures; times in seconds, memory in bytes."""

    name: str
    steps: int
    how: str
    frame_s: list[float]
    first_s: float
    flop: float
    arithmetic_s: float
    bytes_s: float
    memory: float

    @property
    def p50_s(self) -> float:
        return statistics.median(self.frame_s)

    @property
    def floor_fraction(self) -> float:
        return max(self.arithmetic_s, self.bytes_s) / self.p50_s

    def line(self) -> str:
        p99 = statistics.quantiles(self.frame_s, n=100, method="inclusive")[98]
        return (
            f"| {self.name} | {self.steps} | {self.how} | {1 / self.p50_s:.1f} | {1e3 * self.p50_s:.2f} | {1e3 * p99:.2f} "
            f"| {1e3 * self.first_s:.0f} | {self.flop / 1e9:.2f} | {1e3 * self.arithmetic_s:.2f} | {1e3 * self.bytes_s:.2f} "
            f"| {self.floor_fraction:.2f} | {self.memory / 1e6:.0f} |"
        )


def open_session(config: Config, steps: int, device: str, precision: str, weights: str) -> ModelSession:
    """A session over random weights and a random scene as long as the model's context."""
    world = random_world(config, device, precision, weights)
    frames = config.dynamics.context_frames
    shape = (1, frames, len(config.dynamics.actions))
    pixels = torch.randint(0, 256, (1, frames, world.height, world.width, 3), dtype=torch.uint8)
    scenes = Scenes(["random"], pixels, torch.zeros(shape), torch.ones(shape, dtype=torch.bool))
    return ModelSession(world, scenes, steps)


def step_seconds(session: ModelSession, frames: int, warm: int = 5) -> list[float]:
    """Seconds of each of `frames` steps, after `warm` more."""
    taken = []
    for i in range(warm + frames):
        begun = time.perf_counter()
        session.step({"steer": 0.1, "throttle": 0.3})
        if i >= warm:
            taken.append(time.perf_counter() - begun)
    return taken


def bytes_of_a_step(session: ModelSession) -> float:
    """Bytes a step must read: weights of the dynamics once a pass, the decoder's once, keys and values once a pass."""
    size = lambda tensors: sum(x.numel() * x.element_size() for x in tensors)  # noqa: E731
    dynamics, decoder = session.world.dynamics, session.world.tokenizer.decoder
    cache = [x for x in pytree.tree_leaves(session.drive.rollout.history.cache) if isinstance(x, torch.Tensor)]
    passes = len(session.rollout.sample.levels) - 1
    return passes * (size(dynamics.state_dict().values()) + size(cache)) + size(decoder.state_dict().values())


def measure(name: str, session: ModelSession, steps: int, how: str, frames: int, flop: float, device: str) -> Row:
    """The row of one session."""
    dtype = next(session.world.dynamics.parameters()).dtype
    rate, bandwidth = measure_matmul(device, dtype), measure_bandwidth(device)
    begun = time.perf_counter()
    session.reset(0)
    session.step({})
    first = time.perf_counter() - begun
    taken = step_seconds(session, frames)
    rate = max(rate, measure_matmul(device, dtype))
    memory = (
        torch.cuda.max_memory_allocated()
        if device != "cpu"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return Row(name, steps, how, taken, first, flop, flop / rate, bytes_of_a_step(session) / bandwidth, memory)


def flatness(session: ModelSession, late: int, early: int = 100, window: int = 50) -> float:
    """Milliseconds a frame at frame `late` over those at frame `early`, medians of `window` frames."""
    session.reset(0)
    taken = step_seconds(session, late + window, warm=0)
    return statistics.median(taken[late : late + window]) / statistics.median(taken[early : early + window])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["tiny", "small"])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--backends", nargs="+", default=["sdpa"], help="of attention: sdpa, reference, flex")
    parser.add_argument("--frames", type=int, default=200, help="timed in each row")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--weights", default="full")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()

    worlds = [(name, preset_config(name)) for name in given.presets]
    if given.quick:
        worlds, given.steps, given.frames = [("tiny", preset_config("tiny"))], [1], 60
    if "tiny" in dict(worlds):
        wide = override(preset_config("tiny"), ["data.height=128", "data.width=256"])
        worlds.insert([name for name, _ in worlds].index("tiny") + 1, ("tiny", wide))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    figures: dict[str, float] = {}
    for preset, config in worlds:
        name = f"{preset} {config.data.height}x{config.data.width}"
        for backend in given.backends:
            config = override(config, [f"dynamics.backend={backend}"])
            for steps in given.steps:
                session = open_session(config, steps, given.device, given.precision, given.weights)
                flop = flop_of_a_step(partial(session.step, {}))
                how = f"{backend}, eager"
                eager = measure(name, session, steps, how, max(20, given.frames // 4), flop, given.device)
                print(eager.line(), flush=True)
                if given.eager:
                    continue
                begun = time.perf_counter()
                session.compile()
                compile_s = time.perf_counter() - begun
                fast = measure(name, session, steps, f"{backend}, compiled", given.frames, flop, given.device)
                print(fast.line(), flush=True)
                if steps == given.steps[0] and backend == given.backends[0]:
                    key = f"{preset}_{config.data.height}x{config.data.width}"
                    figures[f"{given.device.split(':')[0]}_fps_{key}"] = round(1 / fast.p50_s, 1)
                    figures[f"compile_s_{key}"] = round(compile_s, 1)
                    if "compile_speedup" not in figures:
                        figures["floor_fraction"] = round(fast.floor_fraction, 3)
                        figures["compile_speedup"] = round(eager.p50_s / fast.p50_s, 2)
                        figures["rollout_flatness"] = round(flatness(session, 300 if given.quick else 2000), 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
