"""A finished world made ready to be given away: half the bytes, nothing of the machine it was made on, and a card."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from roadcast.config import ComputeConfig, Config, load_config
from roadcast.flow.world import World
from roadcast.training.card import lineage, model_card


def release(run: Path, folder: Path, name: str, steps: int | None = None) -> None:
    """Write the world that `run` made into `folder`: config.json, weights.safetensors in float16, scenes.npz, CARD.md.

    name   what its card calls it
    steps  network passes a frame it is to be driven in; the world's own number when None
    Raises `UserError` where the run, or one that it started from, has no finished world or no record.
    """
    world = World.load(run / "world")
    world.config = portable(world.config, run, steps)
    world.save(folder, torch.float16)
    shutil.copyfile(run / "world" / "scenes.npz", folder / "scenes.npz")
    parameters = sum(p.numel() for p in world.parameters())
    (folder / "CARD.md").write_text(model_card(name, run, folder, world.config, parameters))


def portable(config: Config, run: Path, steps: int | None) -> Config:
    """`config` without paths, with the stages of all runs that led to its world."""
    return replace(
        config,
        start="",
        data=replace(config.data, reel="", mixture={}),
        tokenizer=replace(config.tokenizer, lpips=""),
        flow=replace(config.flow, steps=steps or config.flow.steps),
        train={name: stage for past in lineage(run) for name, stage in load_config(past / "config.json").train.items()},
        compute=ComputeConfig(),
    )
