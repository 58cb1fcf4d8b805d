"""Trackers by name."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roadcast.errors import UserError
from roadcast.plugins import look_up
from roadcast.tracking.tensorboard import installed as tensorboard_installed
from roadcast.training.metrics import Logger

Factory = Callable[[Path, dict[str, Any]], Logger]
"""Called with the stage's folder, RUN/STAGE, and the run's configuration as `Config.to_dict` has it."""

TRACKERS: dict[str, Factory] = {}


def register_tracker(name: str) -> Callable[[Factory], Factory]:
    """Decorator of a class or function: `compute.trackers` finds it under `name` (docs/tracking.md)."""

    def register(factory: Factory) -> Factory:
        TRACKERS[name] = factory
        return factory

    return register


def build_tracker(name: str, folder: Path, config: dict[str, Any]) -> Logger:
    """The tracker `name` of the stage in `folder` (RUN/STAGE); `config` of the whole run is told to trackers that show it.

    Raises `UserError` for a name that is neither roadcast's nor a plug-in's, and where a package is missing.
    """
    return look_up("tracker", name, TRACKERS)(folder, config)


def build_trackers(
    names: Sequence[str], folder: Path, config: dict[str, Any], report: Callable[[str], None]
) -> list[Logger]:
    """All of `names`; TensorBoard, the default, gives way to one line to `report` where it is not installed."""
    trackers = []
    for name in names:
        if name == "tensorboard" and not tensorboard_installed():
            report(
                "TensorBoard is not installed, figures go to log.jsonl alone; for both: pip install 'roadcast[track]'"
            )
        else:
            trackers.append(build_tracker(name, folder, config))
    return trackers


def needs(package: str, extra: str) -> None:
    """Raise `UserError` unless `package` is installed; `extra` of roadcast installs it."""
    if find_spec(package) is None:
        raise UserError(f"compute.trackers names {package!r}; install it with: pip install 'roadcast[{extra}]'")


@register_tracker("tensorboard")
def tensorboard(folder: Path, config: dict[str, Any]) -> Logger:
    """Event files in RUN/STAGE/tensorboard."""
    needs("tensorboard", "track")
    from roadcast.tracking.tensorboard import TensorBoardLog

    return TensorBoardLog(folder / "tensorboard")


@register_tracker("wandb")
def wandb(folder: Path, config: dict[str, Any]) -> Logger:
    """A run of Weights & Biases."""
    needs("wandb", "wandb")
    from roadcast.tracking.wandb import WandbLog

    return WandbLog(folder, config)


@register_tracker("mlflow")
def mlflow(folder: Path, config: dict[str, Any]) -> Logger:
    """A run of MLflow."""
    needs("mlflow", "mlflow")
    from roadcast.tracking.mlflow import MlflowLog

    return MlflowLog(folder, config)


@register_tracker("trackio")
def trackio(folder: Path, config: dict[str, Any]) -> Logger:
    """A run of trackio."""
    needs("trackio", "trackio")
    from roadcast.tracking.trackio import TrackioLog

    return TrackioLog(folder, config)
