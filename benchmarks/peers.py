"""How fast a latent frame is made, beside other open world models of the same size on the same machine.

    python benchmarks/peers.py --peers DIR [--quick] [--preset tiny] [--preset small] [--threads 1]

DIR holds checkouts named as their repositories; a missing one is told, with the line that gets it, and the others are timed.
Every network has random weights, our number of parameters (within a tenth), attention in as many layers, a token for every latent
cell and a window of 32 latent frames, the new one among them. A step makes the next latent frames with K network passes, as its
project does it; tokenizers are left out. float32, batch 1, in rounds in which all take turns; times are told for one latent frame.
`ratio` is, within a round, the fastest peer's time over ours, and the median over rounds. The last line is one JSON object.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peers_nano_world_model
import peers_open_oasis
import peers_self_forcing
import torch
from peers_common import Contender, Step, Task
from peers_ours import ours

PEERS = (peers_open_oasis, peers_self_forcing, peers_nano_world_model)
PASSES = (1, 2, 4, 8)
MOST = 900  # latent frames made by one contender: Self-Forcing's rotary table ends at 1,024

Times = dict[tuple[str, int], list[list[float]]]
"""Seconds a latent frame: by contender and passes, by round, by step."""


def find(folder: Path | None, task: Task) -> tuple[list[Contender], dict[str, str]]:
    """The peers that run, and of the others why not. A peer is foreign code: whatever it raises is its reason."""
    found, missing = [], {}
    for peer in PEERS:
        source = peer.SOURCE
        path = (folder or Path("DIR")) / source.name
        if not path.is_dir():
            missing[source.name] = f"not there; {source.how(path.parent)}"
            continue
        try:
            found += [contender for contender in peer.contenders(path.resolve(), task) if run(contender)]
        except Exception as error:
            missing[source.name] = f"{type(error).__name__}: {error}"
    return found, missing


def run(contender: Contender) -> bool:
    """One step, whose frames must be numbers."""
    frames = contender.begin(1)()
    if not frames.isfinite().all():
        raise ValueError(f"{contender.name} makes frames that are not finite")
    return True


def measure(contenders: list[Contender], rounds: int, seconds: float) -> Times:
    """Steps of every contender for about `seconds` (one at least) in every round, for every number of passes."""
    steps = {(c.name, k): (c, c.begin(k)) for k in PASSES for c in contenders}
    for _, step in steps.values():
        step()
    times: Times = {key: [] for key in steps}
    for _ in range(rounds):
        for key, (contender, step) in steps.items():
            most = max(1, MOST // rounds // contender.frames)
            times[key].append([t / contender.frames for t in timed(step, seconds, most)])
    return times


def timed(step: Step, seconds: float, most: int) -> Iterator[float]:
    """The seconds each step took, of steps for about `seconds` in all."""
    ends = time.perf_counter() + seconds
    for _ in range(most):
        begun = time.perf_counter()
        step()
        done = time.perf_counter()
        yield done - begun
        if done > ends:
            return


def figures(contenders: list[Contender], times: Times) -> dict[str, Any]:
    """What is told of each, and by passes the ratio of the fastest peer's time to ours (the first contender's)."""
    mine, *peers = contenders
    result: dict[str, Any] = {
        c.name: {"parameters": c.parameters, "tokens": c.tokens}
        | {f"passes_{k}": row(np.concatenate(times[c.name, k])) for k in PASSES}
        for c in contenders
    }
    if peers:
        result["ratio"] = {f"passes_{k}": ratio(times, mine, peers, k) for k in PASSES}
    return result


def row(seconds: np.ndarray) -> dict[str, float]:
    median, late = np.percentile(seconds, [50, 99])
    return {"frames_per_s": 1 / median, "median_ms": 1e3 * median, "p99_ms": 1e3 * late, "steps": len(seconds)}


def ratio(times: Times, mine: Contender, peers: list[Contender], passes: int) -> float:
    """The fastest peer's median over our median within a round; of these the median."""
    medians = {c.name: [statistics.median(r) for r in times[c.name, passes]] for c in (mine, *peers)}
    rounds = zip(medians[mine.name], *(medians[peer.name] for peer in peers), strict=True)
    return statistics.median(min(theirs) / own for own, *theirs in rounds)


def table(preset: str, task: Task, contenders: list[Contender], result: dict[str, Any]) -> str:
    """Markdown: median and 99th percentile in ms a latent frame, by passes."""
    lines = [
        f"{preset}: {task.height}x{task.width} cells, {task.window} frames",
        "",
        f"| | parameters | tokens a frame | {' | '.join(f'K = {k}' for k in PASSES)} |",
        "|---|---|---|" + "---|" * len(PASSES),
    ]
    for c in contenders:
        cells = [result[c.name][f"passes_{k}"] for k in PASSES]
        told = [f"{cell['frames_per_s']:.2f} ({cell['median_ms']:.1f}, {cell['p99_ms']:.1f})" for cell in cells]
        lines.append(f"| {c.name} | {c.parameters / 1e6:.2f} M | {c.tokens} | {' | '.join(told)} |")
    if ratios := result.get("ratio"):
        told = [f"{ratios[f'passes_{k}']:.2f}" for k in PASSES]
        lines.append(f"| **ours over the fastest peer** | | | {' | '.join(told)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, help="a folder with checkouts of the peers")
    parser.add_argument("--preset", action="append", choices=("tiny", "small"), help="our size; tiny when not given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few steps, under a minute for tiny")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rounds, seconds = (2, 0.3) if given.quick else (5, 2.0)
    result: dict[str, Any] = {"threads": given.threads}
    for preset in given.preset or ["tiny"]:
        with torch.inference_mode():
            task, mine = ours(preset)
            peers, missing = find(given.peers, task)
            contenders = [mine, *peers]
            result[preset] = figures(contenders, measure(contenders, rounds, seconds)) | {"missing": missing}
        print(table(preset, task, contenders, result[preset]))
        for name, why in missing.items():
            print(f"{name}: {why}")
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))))


if __name__ == "__main__":
    main()
