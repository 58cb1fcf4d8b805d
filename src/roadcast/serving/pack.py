"""A finished world made into a version: its files, golden rollouts, scores and a manifest over all of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from roadcast.errors import UserError
from roadcast.serving.foreign import Known, reference
from roadcast.serving.golden import GOLDEN, record
from roadcast.serving.manifest import Manifest, Opening, write_manifest
from roadcast.serving.pool import ModelBackend
from roadcast.serving.session import ModelSession, Session

WORLD = ("config.json", "weights.safetensors", "scenes.npz")
EVALUATION = "evaluation.json"

Opener = Callable[[Path, Opening, str, bool], Session]
"""A session over a version's folder, opened so, on this device, compiled or not."""


def open_world(folder: Path, opening: Opening, device: str = "cpu", compiled: bool = False) -> ModelSession:
    """The session of a version's world; raises `UserError` as `ModelSession.open` does."""
    return ModelSession.open(folder, opening.steps, device, compiled, opening.precision, opening.weights)


def pack(world: Path, folder: Path, opening: Opening, evaluation: Path | None = None) -> Manifest:
    """Write a version of the world in the folder `world` into `folder`, which is made.

    evaluation  the folder of an evaluation of it; its record goes along, the scores at its last horizon into the manifest
    Raises `UserError` where files are missing or the world cannot be driven.
    """
    folder.mkdir(parents=True)
    for name in WORLD:
        if not (world / name).is_file():
            raise UserError(f"{world / name}: no such file; give the folder of a finished world")
        shutil.copyfile(world / name, folder / name)
    metrics = {}
    if evaluation is not None:
        metrics = scores(evaluation / "metrics.json")
        shutil.copyfile(evaluation / "metrics.json", folder / EVALUATION)
    other = open_world(folder, opening)  # another one, for a backend makes its world steady, and its bits others
    known = reference(ModelBackend(other.world, other.context, 1, opening.steps))
    return seal(folder, opening, metrics, open_world(folder, opening), known)


def seal(
    folder: Path, opening: Opening, metrics: dict[str, float], session: Session, known: Known | None = None
) -> Manifest:
    """Add golden rollouts of `session`, which drives the world as it is opened so, to a version's files, and the manifest over all."""
    record(session).save(folder / GOLDEN)
    return write_manifest(folder, opening, metrics, known)


def scores(path: Path) -> dict[str, float]:
    """The model's score at the last horizon, by metric, of the evaluation recorded in `path`."""
    try:
        metrics = json.loads(path.read_text())["metrics"]
        return {name: systems["model"]["mean"][-1] for name, systems in metrics.items() if "model" in systems}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: is no evaluation's record ({error!r}); give a folder that `roadcast evaluate` wrote"
        ) from None
