"""How fast a latent frame is made, beside other open world models of the same size on the same machine.

    python benchmarks/peers.py --peers DIR [--quick] [--compile] [--preset tiny] [--preset small] [--passes 1 2 4 8] [--threads 1]

DIR holds checkouts named as their repositories; a missing one is told, with the line that gets it, and the others are timed.
Every network has random weights, our number of parameters (within a tenth), attention in as many layers, a token for every latent
cell and a window of 32 latent frames, the new one among them. A step makes the next latent frames with K network passes, as its
project does it; tokenizers are left out. float32, batch 1, in rounds in which all take turns; times are told for one latent frame.
With --compile all are timed a second time under `torch.compile`: ours the whole step, the others their network, as Self-Forcing's
demo does. `ratio` is, within a round, the fastest peer's time over ours, and the median over rounds; `ratio_each_frame` the same
over those alone that make frame by frame, so that every command is answered by the next frame. Both are given by the clock and by
processor time, which holds on a busy machine. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peers_nano_world_model
import peers_open_oasis
import peers_self_forcing
import torch
from peers_common import Contender, Step, Task
from peers_ours import ours
from torch._inductor import config as inductor

PEERS = (peers_open_oasis, peers_self_forcing, peers_nano_world_model)
MOST = 900  # latent frames made by one contender: Self-Forcing's rotary table ends at 1,024

Times = dict[tuple[str, int], list[np.ndarray]]
"""Seconds a latent frame, by the clock and of the processor [steps, 2]: by contender and passes, by round."""


def find(folder: Path | None, task: Task, compiled: bool) -> tuple[list[Contender], dict[str, str]]:
    """The peers that run, and of the others why not. A peer is foreign code: whatever it raises is its reason."""
    found, missing = [], {}
    for peer in PEERS:
        source = peer.SOURCE
        path = (folder or Path("DIR")) / source.name
        if not path.is_dir():
            missing[source.name] = f"not there; {source.how(path.parent)}"
            continue
        try:
            contenders = peer.contenders(path.resolve(), task)
            if compiled:
                contenders += [under_compiler(contender) for contender in peer.contenders(path.resolve(), task)]
            for contender in contenders:
                run(contender)
            found += contenders
        except Exception as error:
            missing[source.name] = f"{type(error).__name__}: {error}"
    return found, missing


def under_compiler(contender: Contender) -> Contender:
    contender.network.compile()
    return replace(contender, name=f"{contender.name}, compiled")


def run(contender: Contender) -> None:
    """One step; ValueError when its frames are not finite."""
    frames = contender.begin(1)()
    if not frames.isfinite().all():
        raise ValueError(f"{contender.name} makes frames that are not finite")


def measure(contenders: list[Contender], passes: list[int], rounds: int, seconds: float) -> Times:
    """Steps of every contender for about `seconds` (one at least) in every round, for every number of passes."""
    steps = {(c.name, k): (c, c.begin(k)) for k in passes for c in contenders}
    for _, step in steps.values():
        step()
    times: Times = {key: [] for key in steps}
    for _ in range(rounds):
        for key, (contender, step) in steps.items():
            most = max(1, MOST // rounds // contender.frames)
            times[key].append(np.array(list(timed(step, seconds, most))) / contender.frames)
    return times


def timed(step: Step, seconds: float, most: int) -> Iterator[tuple[float, float]]:
    """The seconds each step took by the clock and of the processor, of steps for about `seconds` in all."""
    ends = time.perf_counter() + seconds
    for _ in range(most):
        begun, worked = time.perf_counter(), time.process_time()
        step()
        yield time.perf_counter() - begun, time.process_time() - worked
        if time.perf_counter() > ends:
            return


def figures(mine: list[Contender], peers: list[Contender], times: Times) -> dict[str, Any]:
    """What is told of each, by passes, and of ours how many times as fast they are as the fastest peer."""
    passes = sorted({k for _, k in times})
    result: dict[str, Any] = {
        c.name: {"parameters": c.parameters, "tokens": c.tokens}
        | {f"passes_{k}": row(np.concatenate(times[c.name, k])) for k in passes}
        for c in [*mine, *peers]
    }
    each_frame = [peer for peer in peers if peer.frames == 1]
    for name, rivals in (("ratio", peers), ("ratio_each_frame", each_frame)):
        for c in mine if rivals else ():
            result[c.name][name] = {f"passes_{k}": ratio(times, c, rivals, k) for k in passes}
    return result


def row(seconds: np.ndarray) -> dict[str, float]:
    median, processor = np.median(seconds, axis=0)
    late = np.percentile(seconds[:, 0], 99)
    return {
        "frames_per_s": 1 / median, "median_ms": 1e3 * median, "p99_ms": 1e3 * late, "processor_ms": 1e3 * processor,
        "steps": len(seconds),
    }  # fmt: skip


def ratio(times: Times, own: Contender, peers: list[Contender], passes: int) -> tuple[float, float]:
    """The fastest peer's median over ours within a round, of these the median: by the clock, and of the processor."""
    ours, *theirs = (np.array([np.median(r, axis=0) for r in times[c.name, passes]]) for c in [own, *peers])
    clock, processor = np.median(np.min(theirs, axis=0) / ours, axis=0)
    return float(clock), float(processor)


def table(preset: str, task: Task, passes: list[int], result: dict[str, Any]) -> str:
    """Markdown: frames a second (median and 99th percentile in ms), by passes; ratios by the clock (of the processor)."""
    head = f"{preset}: {task.height}x{task.width} cells, {task.window} frames"
    lines = [f"| {head} | parameters | tokens a frame | {' | '.join(f'K = {k}' for k in passes)} |"]
    lines.append("|---|---|---|" + "---|" * len(passes))
    for name, told in result.items():
        rows = [told[f"passes_{k}"] for k in passes]
        cells = [f"{r['frames_per_s']:.2f} ({r['median_ms']:.1f}, {r['p99_ms']:.1f})" for r in rows]
        lines.append(f"| {name} | {told['parameters'] / 1e6:.2f} M | {told['tokens']} | {' | '.join(cells)} |")
    over = {"ratio": "the fastest peer", "ratio_each_frame": "the fastest that makes frame by frame"}
    for name, told in result.items():
        for key in [key for key in over if key in told]:
            ratios = " | ".join("**{:.2f}** ({:.2f})".format(*told[key][f"passes_{k}"]) for k in passes)
            lines.append(f"| {name} over {over[key]} | | | {ratios} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, help="a folder with checkouts of the peers")
    parser.add_argument("--preset", action="append", choices=("tiny", "small"), help="our size; tiny when not given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few steps, under a minute for tiny")
    parser.add_argument("--compile", action="store_true", help="all once more under torch.compile; minutes each")
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 2, 4, 8], help="network passes a step")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rounds, seconds = (2, 0.3) if given.quick else (5, 2.0)
    result: dict[str, Any] = {"threads": given.threads}
    for preset in given.preset or ["tiny"]:
        with torch.inference_mode(), inductor.patch(freezing=True):  # weights laid out once, for whatever is compiled
            task, eager = ours(preset)
            mine = [eager, ours(preset, compiled=True)[1]] if given.compile else [eager]
            peers, missing = find(given.peers, task, given.compile)
            times = measure([*mine, *peers], given.passes, rounds, seconds)
        told = figures(mine, peers, times)
        print(table(preset, task, given.passes, told))
        for name, why in missing.items():
            print(f"{name}: {why}")
        result[preset] = told | {"missing": missing}
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))))


if __name__ == "__main__":
    main()
