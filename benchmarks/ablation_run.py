"""One run of `ablation.py`: a variant of the recipe, trained from a seed and measured, in a process of its own.

    python benchmarks/ablation_run.py OUT VARIANT SEED

OUT is the folder that `prepare` filled. The scores are OUT/VARIANT-SEED.json; a run that was stopped goes on from its last state.
"""

import dataclasses
import json
import sys
from pathlib import Path

import cv2
import torch
from ablation_measure import Scores, costs, floor, measure

from roadcast.config import Config, load_config, override
from roadcast.data.ingest import ingest
from roadcast.data.loading.latents import LatentReel
from roadcast.data.reel.store import Reel
from roadcast.files import write_file
from roadcast.flow.world import World
from roadcast.parallel.mesh import Mesh
from roadcast.training.run import Run, begin, latents_name, latents_of_reel, train, train_stage

VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "no-difference-input": ("dynamics.difference_input=false",),
    "no-difference-loss": ("train.dynamics.options.difference=0.0",),
    "no-difference-at-all": ("dynamics.difference_input=false", "train.dynamics.options.difference=0.0"),
    "difference-target": ("dynamics.difference_target=true",),
    "predict-v": ("flow.prediction=v",),
    "full-attention": ("dynamics.attention=full",),
    "no-registers": ("dynamics.registers=0",),
    "sink-frame": ("dynamics.sink_frames=1",),
}

ALONE = Mesh(torch.device("cpu"))
Drives = tuple[int, int]
"""Recordings, and frames of each."""


def prepare(config: Config, out: Path, training: Drives, held_out: Drives) -> None:
    """What all runs share, in `out`: the configuration, drives of the built-in world, one tokenizer, its latents, and the floor."""
    begin(config, out, ALONE)
    if not Path(config.data.reel).exists():
        for seed, split, (recordings, frames) in ((0, "train", training), (1, "val", held_out)):
            size = {"height": config.data.height, "width": config.data.width}
            source = f"toyroad:seed={seed},recordings={recordings},frames={frames},weather=clear"
            source += "".join(f",{name}={value}" for name, value in size.items())
            ingest(source, config.data.reel, fps=config.data.fps, min_seconds=0, split=split, append=seed > 0, **size)
    alone = dataclasses.replace(config, train={"tokenizer": config.train["tokenizer"]})
    world = World.load(train(alone, out / "tokenizer", report=tell))
    reel = Reel(Path(config.data.reel))
    latents = latents_of_reel(world, reel, out / latents_name(0), tell)
    save(out / "floor.json", floor(world, reel, latents))


def build(out: Path, variant: str, seed: int) -> World:
    """An untrained world of a variant, with the tokenizer that all share; the seed sets its weights."""
    config = override(load_config(out / "config.json"), [f"seed={seed}", *VARIANTS[variant]])
    torch.manual_seed(seed)
    world = World(config)
    world.tokenizer = World.load(out / "tokenizer" / "world").tokenizer
    return world


def run(out: Path, variant: str, seed: int) -> None:
    """Train and measure one variant from one seed, which also sets the order of its clips and their noise."""
    config = build(out, variant, seed).config
    reel = Reel(Path(config.data.reel))
    shared = Run(config, out, [reel], ALONE, torch.float32, tell, print, lambda folder: [])
    world = train_stage(shared, f"{variant}-{seed}", config.train["dynamics"], lambda: build(out, variant, seed))
    assert world is not None
    save(result_path(out, variant, seed), measure(world, reel, LatentReel(out / latents_name(0))))


def costs_of(out: Path, variants: list[str]) -> dict[str, Scores]:
    """What the variants cost beside one another."""
    worlds = {variant: build(out, variant, 0) for variant in variants}
    return costs(worlds, Reel(Path(worlds["base"].config.data.reel)), LatentReel(out / latents_name(0)))


def result_path(out: Path, variant: str, seed: int) -> Path:
    """Where a run's scores lie once it is finished."""
    return out / f"{variant}-{seed}.json"


def save(path: Path, scores: dict[str, float]) -> None:
    """Write scores whole or not at all: a run is finished when its file is there."""
    write_file(path, lambda beside: beside.write_text(json.dumps(scores, indent=1) + "\n"))


def tell(what: str, done: int, of: int, latest: dict[str, float]) -> None:
    """A line of progress for every tenth."""
    if done == of or done % max(1, of // 10) == 0:
        print(f"{what} {done}/{of} loss {latest.get('loss', float('nan')):.4f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
