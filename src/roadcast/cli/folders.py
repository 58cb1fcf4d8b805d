"""What a folder is: a reel, a run, or a finished world."""

from pathlib import Path
from typing import TYPE_CHECKING

from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.config import Config

RECIPES = Path("recipes")


def kind_of(path: Path) -> str:
    """ "reel", "world" (finished weights and configuration), "run" (training begun) or "" for anything else."""
    if (path / "reel.json").is_file():
        return "reel"
    if (path / "config.json").is_file():
        return "world" if (path / "weights.safetensors").is_file() else "run"
    return ""


def world_folder(path: Path) -> Path:
    """The folder of the finished world at `path`, which may be the world's own or its run's.

    Raises `UserError` when there is none, and says what is there instead.
    """
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


def parameter_counts(config: "Config") -> dict[str, int]:
    """Parameters of the tokenizer and of the dynamics under `config`, counted without making a single number."""
    import torch

    from roadcast.flow.world import World

    with torch.device("meta"):
        world = World(config)
    return {name: sum(p.numel() for p in part.parameters()) for name, part in world.named_children()}


def recipe_path(name: str) -> Path:
    """A recipe that comes with roadcast, by name: beside the installed package, or in the repository it runs from."""
    import roadcast

    package = Path(roadcast.__file__).parent
    for folder in (package / RECIPES, package.parents[1] / RECIPES):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise UserError(f"recipe {name}.toml is not installed with roadcast; get it from the repository's recipes/")
