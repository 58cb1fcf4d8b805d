"""Training figures for Weights & Biases."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import wandb

from roadcast.tracking.names import PROJECT, run_id, run_name
from roadcast.training.films import write_mp4


class WandbLog:
    """A `roadcast.training.metrics.Logger` over one W&B run a stage; WANDB_MODE, WANDB_PROJECT and the like say where it goes.

    A resumed stage goes on in the same run. W&B takes no row back, so every row carries its own step, which is the axis of all
    charts: what a killed run had logged and now comes again lies on the same points.
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        settings = wandb.Settings(console="off", silent=True)
        self._run = wandb.init(
            project=settings.project or PROJECT, name=run_name(folder), id=run_id(folder), resume="allow",
            dir=folder, config=config, settings=settings, reinit="create_new",
        )  # fmt: skip
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({"step": step, name: text})

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            write_mp4(path, frames_FHWC, fps)
            self._run.log({"step": step, name: wandb.Video(str(path), format="mp4")})  # W&B takes a copy at once

    def close(self) -> None:
        self._run.finish()
