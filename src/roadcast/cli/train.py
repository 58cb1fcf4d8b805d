"""`roadcast train`."""

import os
from pathlib import Path
from typing import Annotated

import tyro

from roadcast.cli.console import progress, say
from roadcast.cli.device import checked
from roadcast.config import Config, load_config, override
from roadcast.errors import UserError
from roadcast.presets import preset_config


def train(
    recipe: Path | None = None,
    /,
    *,
    out: Path,
    reel: Path | None = None,
    preset: str | None = None,
    set_: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")] = (),
    device: str = "cpu",
) -> None:
    """Train a world on a reel: the tokenizer, then the dynamics, as the recipe's stages say.

    Examples:
      roadcast train recipes/tiny.toml --reel reels/mine --out runs/mine
      roadcast train --preset small --reel reels/mine --out runs/mine --device cuda
      roadcast train --reel reels/mine --out runs/short --set train.tokenizer.steps=500 train.dynamics.steps=500
      torchrun --nproc-per-node 8 -m roadcast train recipes/base.toml --reel reels/mine --out runs/mine --device cuda

    The run's folder keeps the configuration, a record of code, machine and data, the full state of every stage, a log
    (log.jsonl, events.jsonl) and report.html. Stopped or killed at any moment, the same command goes on and ends with the
    same weights, bit for bit. A finished run is left as it is. docs/training.md tells of several processes and of guards.

    Args:
        recipe: A .toml laid over its preset; recipes/ has one a size. Without one, the preset as it is.
        out: The run's folder. The finished world is out/world.
        reel: The reel to learn from, made by `roadcast ingest`; takes the place of data.reel in the recipe.
        preset: tiny, small, base or large; for use without a recipe. Neither means tiny.
        set_: Changes to single settings, by dotted name, such as train.dynamics.steps=2000 or seed=1.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    config = configure(recipe, preset, reel, list(set_))
    world = run_training(config, out, checked(device))
    if speaks():
        say(f"the world is {world}")


def configure(recipe: Path | None, preset: str | None, reel: Path | None, assignments: list[str]) -> Config:
    """The configuration that a recipe or a preset, a reel and overrides make; `UserError` when they make none."""
    if recipe is not None and preset is not None:
        raise UserError(f"--preset {preset}: give it or the recipe {recipe}, not both; a recipe names its own preset")
    config = load_config(recipe) if recipe is not None else preset_config(preset or "tiny")
    if reel is not None:
        config.data.reel, config.data.mixture = str(reel), {}
    config = override(config, assignments)
    if not (config.data.reel or config.data.mixture):
        raise UserError("no reel to learn from; give --reel, the folder that `roadcast ingest` made")
    if not config.train:
        raise UserError(
            f'{recipe}: no stages to train; add [train.tokenizer] and [train.dynamics], or begin with preset = "tiny"'
        )
    return config


def run_training(config: Config, out: Path, device: str = "cpu") -> Path:
    """Train with progress on the terminal and the configured trackers beside the log; returns the world's folder.

    Of several processes the first one speaks.
    """
    from roadcast.tracking import build_trackers
    from roadcast.training.run import train as train_world

    if not speaks():
        return train_world(config, out, report=lambda *_: None, tell=lambda _: None, device=device)
    values = config.to_dict()
    with progress() as show:
        return train_world(
            config, out, report=show, tell=say, device=device,
            trackers=lambda folder: build_trackers(config.compute.trackers, folder, values, say),
        )  # fmt: skip


def speaks() -> bool:
    """Whether this is the first of the processes that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"
