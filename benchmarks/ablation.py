"""What each part of the dynamics buys: variants of one recipe, trained alike from several seeds, measured on drives never seen.

    python benchmarks/ablation.py OUT [--recipe recipes/demo.toml] [--steps 300] [--seeds 3] [--jobs 2] [--finished]
                                      [--variants base predict-v ...]
    python benchmarks/ablation.py OUT --quick

The variants are `ablation_run.VARIANTS`, the scores `ablation_report.METRICS`. All share reel, tokenizer, latents, number of steps
and, within a seed, the order of clips. Runs go seed by seed, `--jobs` side by side, each in a process with one thread; a finished
one is a file in OUT, so that the same command goes on where it was stopped. `--finished` trains nothing and tells what is there.
Printed are tables and verdicts over the seeds that every variant has finished, OUT/ablation.png is the picture, and the last line
is one JSON object. `--quick` is two variants from one seed, in sizes that prove the code and nothing else.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import torch
from ablation_chart import chart
from ablation_report import Results, figures, tables
from ablation_run import VARIANTS, Drives, costs_of, prepare, result_path

from roadcast.config import Config, load_config, override

LENGTHS = (
    "train.tokenizer.steps=600", "dynamics.context_frames=8", "train.dynamics.clip_frames=12", "train.dynamics.batch=4",
)  # fmt: skip
"""Clips are longer than the window, so that what lies beyond it (sinks) matters in training too."""
MICRO = (
    "data.height=32", "data.width=64",
    "tokenizer.widths=[8, 16, 16]", "tokenizer.decoder_blocks=1", "tokenizer.latent_channels=4", "train.tokenizer.steps=4",
    "dynamics.width=32", "dynamics.depth=4", "dynamics.heads=4", "dynamics.kv_heads=2",
)  # fmt: skip
DRIVES: tuple[Drives, Drives] = (48, 80), (16, 40)
FEW_DRIVES: tuple[Drives, Drives] = (3, 40), (3, 40)


def configuration(recipe: Path, out: Path, steps: int, micro: bool) -> Config:
    """The recipe with the clips and the number of steps of the ablation."""
    sizes = [f"train.dynamics.{name}={value}" for name, value in
             (("steps", steps), ("evaluate_every", steps), ("save_every", max(1, steps // 4)), ("warmup", steps // 10))]  # fmt: skip
    reel = f"data.reel={json.dumps(str((out / 'reel').resolve()))}"
    return override(load_config(recipe), [reel, *LENGTHS, *sizes, *(MICRO if micro else ())])


def train_all(out: Path, variants: list[str], seeds: int, jobs: int) -> None:
    """Every run that is not finished, seed by seed; the first that fails stops the others from beginning."""
    runs = [(v, seed) for seed in range(seeds) for v in variants if not result_path(out, v, seed).exists()]
    script = Path(__file__).with_name("ablation_run.py")
    with ThreadPoolExecutor(jobs) as pool:
        commands = [[sys.executable, str(script), str(out), variant, str(seed)] for variant, seed in runs]
        futures = [pool.submit(subprocess.run, command, check=True) for command in commands]
        try:
            for future in futures:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def finished(out: Path, variants: list[str], seeds: int) -> Results:
    """The scores of the seeds that every one of these variants has finished."""
    whole = [s for s in range(seeds) if all(result_path(out, v, s).exists() for v in variants)]
    return {v: [json.loads(result_path(out, v, s).read_text()) for s in whole] for v in variants}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes/demo.toml")
    parser.add_argument("--steps", type=int, default=300, help="of the dynamics, for every run")
    parser.add_argument("--seeds", type=int, choices=(2, 3, 4, 5), default=3)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--finished", action="store_true", help="train nothing more")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    variants, seeds, steps = given.variants, given.seeds, given.steps
    if given.quick:
        variants, seeds, steps = ["base", "predict-v"], 1, 4
    config = configuration(given.recipe, given.out, steps, given.quick)
    if not given.finished:
        prepare(config, given.out, *(FEW_DRIVES if given.quick else DRIVES))
        train_all(given.out, variants, seeds, given.jobs)
    results = finished(given.out, variants, seeds)
    if not results["base"]:
        sys.exit(f"{given.out}: no seed is finished for all {len(variants)} variants; leave out --finished to train on")
    floor = json.loads((given.out / "floor.json").read_text())
    cost = costs_of(given.out, variants)
    print(tables(results, floor, cost))
    cv2.imwrite(str(given.out / "ablation.png"), chart(results))
    told = {"steps": config.train["dynamics"].steps, "seeds": len(results["base"]), "floor": floor, "cost": cost}
    print(json.dumps(told | {"variants": figures(results)}))


if __name__ == "__main__":
    main()
