"""`roadcast models push`."""

import tempfile
from pathlib import Path
from typing import Literal

from roadcast.cli.console import say
from roadcast.cli.folders import world_folder
from roadcast.errors import UserError


def push(
    world: Path,
    /,
    name: str,
    evaluation: Path | None = None,
    steps: int | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    weights: Literal["full", "int8", "int8_dynamic", "fp8"] = "full",
    registry: str = "registry",
) -> None:
    """Keep a finished world as a version that never changes.

    Examples:
      roadcast models push runs/mine --name mine
      roadcast models push runs/mine --name mine --evaluation runs/mine/evaluation --steps 1
      roadcast models push runs/mine --name mine --registry mlflow:http://tracking:5000

    A version is the world's files, golden rollouts that it makes now, its scores, and a manifest with the SHA-256 of each file. It is
    served as it is pushed: steps, precision and weights belong to it. Nobody drives it before `roadcast models promote`.

    Args:
        world: A run's folder, or a world's.
        name: The model that it is a version of.
        evaluation: The folder of an evaluation of it, to keep its record and scores with it.
        steps: Network passes a frame. The world's own number when not given.
        precision: Number format of the networks.
        weights: Full, or rounded to eight bits.
        registry: A folder, or mlflow:URI.
    """
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: give at least 1")
    folder = world_folder(world)

    from roadcast.serving.manifest import Opening
    from roadcast.serving.pack import pack
    from roadcast.serving.registry import Registry

    opened = Registry.open(registry)
    with tempfile.TemporaryDirectory() as beside:
        packed = Path(beside) / "version"
        pack(folder, packed, Opening(steps, precision, weights), evaluation)
        version = opened.push(name, packed)
    say(f"{name}/{version}: let it have traffic with `roadcast models promote {name}/{version}`")
