"""Training figures for MLflow."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Metric

from roadcast.tracking.names import PROJECT, run_id, run_name
from roadcast.training.films import save_film

STAGE_TAG = "roadcast.stage"


class MlflowLog:
    """A `roadcast.training.metrics.Logger` over one MLflow run a stage, at MLFLOW_TRACKING_URI, or in RUN/mlruns where that is unset.

    A resumed stage goes on in the run that carries its tag. Texts and films are the run's artifacts.
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # all that mlflow-skinny has without a server
            uri = (folder.resolve().parent / "mlruns").as_uri()
        self._client = mlflow.MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        identity = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        stage = run_id(folder)
        begun = self._client.search_runs([identity], f"tags.`{STAGE_TAG}` = '{stage}'", max_results=1)
        if begun:
            self._run = begun[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            run = self._client.create_run(identity, run_name=run_name(folder), tags={STAGE_TAG: stage})
            self._run = run.info.run_id
            self._client.log_dict(self._run, config, "config.json")

    def log(self, step: int, values: dict[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in values.items()])

    def text(self, step: int, name: str, text: str) -> None:
        self._client.log_text(self._run, text, f"{name}/{step:08d}.txt")

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_film(Path(folder) / f"{name}-{step:08d}.mp4", frames_FHWC, fps)
            self._client.log_artifacts(self._run, folder, "samples")

    def close(self) -> None:
        self._client.set_terminated(self._run)
