"""How fast training goes: samples a second, the share of the machine's arithmetic that reaches the networks, the wait for data.

    python benchmarks/train.py [--presets tiny small] [--steps 30] [--device cuda] [--set KEY=VALUE ...] [--quick]

Each row is a stage of a preset trained for some steps by `roadcast train`'s own loop, on a reel of the built-in world, the dynamics
from latents that a random tokenizer made: what is told is what a user's log tells, medians over its lines. The floor of a step is
its floating-point operations (counted, recomputation included) over this machine's measured rate of matrix products; `of floor` is
that over the time it took. The last line is one JSON object, of the dynamics of the first preset.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from roadcast.config import Config, override
from roadcast.data.ingest import ingest
from roadcast.parallel.precision import dtype_for
from roadcast.presets import preset_config
from roadcast.training.flops import measured_rate, step_flops
from roadcast.training.memory import longest_clip
from roadcast.training.metrics import read_log
from roadcast.training.run import train

COLUMNS = (
    "world", "stage", "clips x frames", "precision", "samples/s", "frames/s", "MFU", "of floor", "step ms p50", "p99", "data wait",
    "peak GB",
)  # fmt: skip
WARM = 2
"""Lines of the log that are not counted: the first steps allocate, and caches are cold."""


def configure(preset: str, name: str, steps: int, changes: list[str]) -> Config:
    """One stage of a preset for `steps` steps, from the first on at its longest clips, a line of the log for each."""
    config = preset_config(preset)
    stage = config.train[name]
    longest = longest_clip(stage)
    config.train = {name: stage}
    same = {
        "steps": steps,
        "warmup": 1,
        "log_every": 1,
        "clip_frames": longest,
        "evaluate_every": steps,
        "save_every": steps,
    }
    assignments = [f"train.{name}.{key}={value}" for key, value in same.items()] + [f"train.{name}.curriculum=[]"]
    return override(config, [*assignments, "compute.trackers=[]", *changes])


def record(config: Config, folder: Path) -> Path:
    """A reel of the built-in world of the size that `config` asks for, just long enough for its clips."""
    path = folder / f"reel-{config.data.height}x{config.data.width}"
    if not path.exists():
        size = {"height": config.data.height, "width": config.data.width}
        source = "toyroad:recordings=4,frames=96,seed=1," + ",".join(f"{key}={value}" for key, value in size.items())
        ingest(source, path, fps=config.data.fps, min_seconds=0, split="train", **size)
    return path


def measure(preset: str, name: str, config: Config, folder: Path, device: str) -> dict[str, Any]:
    """Train, and read the log."""
    run = folder / f"{preset}-{name}"
    train(config, run, report=lambda *_: None, tell=lambda text: None, device=device)
    rows = [row for row in read_log(run / name / "log.jsonl") if "samples_per_s" in row][WARM:]
    middle = {key: statistics.median(row[key] for row in rows if key in row) for key in rows[-1]}
    stage, precision = config.train[name], json.loads((run / "record.json").read_text())["precision"]
    flops = step_flops(config, stage, stage.clip_frames, again=True)
    rate = measured_rate(torch.device(device), dtype_for(precision, device))
    return {
        "world": f"{preset} {config.data.height}x{config.data.width}",
        "stage": name,
        "clips": f"{stage.batch * stage.accumulate} x {stage.clip_frames}",
        "precision": precision,
        "samples_per_s": middle["samples_per_s"],
        "frames_per_s": middle["frames_per_s"],
        "mfu": middle.get("mfu", float("nan")),
        "floor_fraction": flops / rate / middle["step_p50"] if flops else float("nan"),
        "p50_ms": 1e3 * middle["step_p50"],
        "p99_ms": 1e3 * statistics.quantiles([row["step_seconds"] for row in rows], n=100, method="inclusive")[98],
        "data_wait": middle["data_wait"],
        "peak_gb": max(row.get("reserved_gb", row["host_gb"]) for row in rows),
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"| {row['world']} | {row['stage']} | {row['clips']} | {row['precision']} | {row['samples_per_s']:.2f} "
        f"| {row['frames_per_s']:.0f} | {row['mfu']:.2f} | {row['floor_fraction']:.2f} | {row['p50_ms']:.0f} | {row['p99_ms']:.0f} "
        f"| {100 * row['data_wait']:.1f} % | {row['peak_gb']:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["tiny", "small"])
    parser.add_argument("--stages", nargs="+", default=["tokenizer", "dynamics"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--set", nargs="+", default=[], dest="changes", metavar="KEY=VALUE", help="as `roadcast train` takes it"
    )
    parser.add_argument("--quick", action="store_true", help="the dynamics of tiny, eight steps")
    given = parser.parse_args()
    if given.quick:
        given.presets, given.stages, given.steps = ["tiny"], ["dynamics"], 8
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for preset in given.presets:
            for name in given.stages:
                config = configure(preset, name, given.steps, given.changes)
                config.data.reel = str(record(config, Path(scratch)))
                row = measure(preset, name, config, Path(scratch), given.device)
                print(line(row), flush=True)
                if name == "dynamics" and not figures:
                    figures = {
                        key: round(row[key], 4)
                        for key in ("samples_per_s", "floor_fraction", "mfu", "data_wait", "peak_gb")
                    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
