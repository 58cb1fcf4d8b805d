"""What a folder is: a reel, a run, or a finished world."""

from pathlib import Path
from typing import TYPE_CHECKING

import roadcast
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.config import Config

PACKAGE = Path(roadcast.__file__).parent
RECIPES = Path("recipes")
IN_THE_BOX = PACKAGE / "models" / "toyroad"
"""The world that comes with roadcast."""


def named(path: Path) -> Path:
    """`path`, or the world that comes with roadcast where its name is given and no folder has it."""
    return IN_THE_BOX if path == Path(IN_THE_BOX.name) and not path.exists() else path


def kind_of(path: Path) -> str:
    """ "reel", "world" (finished weights and configuration), "run" (training begun) or "" for anything else."""
    if (path / "reel.json").is_file():
        return "reel"
    if (path / "config.json").is_file():
        return "world" if (path / "weights.safetensors").is_file() else "run"
    return ""


def world_folder(path: Path) -> Path:
    """The folder of the finished world at `path`, which may be the world's own, its run's, or the name of the one in the box.

    Raises `UserError` when there is none, and says what is there instead.
    """
    path = named(path)
    if path == IN_THE_BOX and kind_of(path) != "world":
        raise UserError(
            f"{path}: the world that comes with roadcast is missing; install roadcast again (pip install "
            "--force-reinstall --no-deps roadcast), or give a world of your own"
        )
    if not path.exists():
        raise UserError(
            f"{path}: no such folder; train a world with `roadcast train`, or make one with `roadcast demo`"
        )
    kind = kind_of(path)
    if kind == "run" and kind_of(path / "world") == "world":
        return path / "world"
    if kind == "world":
        return path
    if kind == "run":
        raise UserError(
            f"{path}: its training is not finished, so there is no world yet; give the same `roadcast train` command again"
        )
    raise UserError(
        f"{path}: {'is a reel, not a world' if kind == 'reel' else 'holds no world'}; give a run's folder or its world/"
    )


def run_of(world: Path) -> Path | None:
    """The run a world was made by, where it still lies in it."""
    return world.parent if kind_of(world.parent) in ("run", "world") else None


def check_free(out: Path) -> None:
    """Raise `UserError` where `out` is there already, unless it is an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there already and not an empty folder; give another --out, or remove it")


def parameter_counts(config: "Config") -> dict[str, int]:
    """Parameters of the tokenizer and of the dynamics under `config`, counted without making a single number."""
    import torch

    from roadcast.flow.world import World

    with torch.device("meta"):
        world = World(config)
    return {name: sum(p.numel() for p in part.parameters()) for name, part in world.named_children()}


def recipe_path(name: str) -> Path:
    """A recipe that comes with roadcast, by name: beside the installed package, or in the repository it runs from."""
    for folder in (PACKAGE / RECIPES, PACKAGE.parents[1] / RECIPES):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise UserError(f"recipe {name}.toml is not installed with roadcast; get it from the repository's recipes/")
