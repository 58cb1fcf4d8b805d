"""A registry in MLflow: versions are registered models' versions, aliases are aliases."""

import json
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from roadcast.files import replacing
from roadcast.serving.store import Record

EXPERIMENT, FILES, LOG_TAG = "roadcast-models", "version", "roadcast.log."
LONGEST_TAG = 5000


class MlflowStore:
    """A `serving.store.Store` over a tracking server, or a folder given as file:// address.

    Files are the artifacts of one run a version, fetched once into `cache`; the log is in tags of the registered model, one a
    record. MLflow has no locks: two who move an alias at once are both in the log, and the last one has it.
    """

    def __init__(self, uri: str, cache: Path):
        mlflow.set_tracking_uri(uri)  # a registry in files asks whatever is set, and would make ./mlflow.db
        self._client, self.cache = MlflowClient(uri, uri), cache

    def add(self, model: str, folder: Path) -> int:
        """Make a run of the files, and a version of the run."""
        if model not in {found.name for found in self._client.search_registered_models()}:
            self._client.create_registered_model(model)
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        identity = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        run = self._client.create_run(identity, run_name=model)
        self._client.log_artifacts(run.info.run_id, str(folder), FILES)
        self._client.set_terminated(run.info.run_id)
        source = f"{run.info.artifact_uri}/{FILES}"
        return int(self._client.create_model_version(model, source, run.info.run_id).version)

    def fetch(self, model: str, version: int) -> Path:
        """The version's copy in the cache."""
        folder = self.cache / model / str(version)
        if not folder.exists():
            run = self._client.get_model_version(model, str(version)).run_id
            assert run is not None
            with replacing(folder) as beside:
                beside.mkdir()
                Path(self._client.download_artifacts(run, FILES, str(beside))).rename(beside / FILES)
        return folder / FILES

    def aliases(self, model: str) -> dict[str, int]:
        """By name."""
        try:
            found = self._client.get_registered_model(model).aliases
        except MlflowException:
            return {}
        return {name: int(version) for name, version in sorted(found.items())}

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Let the alias name another version."""
        self._client.set_registered_model_alias(model, alias, str(version))

    def append(self, record: Record) -> None:
        """One more tag, named by the time."""
        if len(text := json.dumps(record)) > LONGEST_TAG:
            text = json.dumps({**record, "why": record["why"][:1000]})
        self._client.set_registered_model_tag(record["model"], f"{LOG_TAG}{time.time_ns()}", text)

    def records(self) -> list[Record]:
        """The records of all models, oldest first."""
        tags = [
            (name, text)
            for model in self._client.search_registered_models()
            for name, text in model.tags.items()
            if name.startswith(LOG_TAG)
        ]
        return [json.loads(text) for _, text in sorted(tags)]

    def locked(self) -> AbstractContextManager[None]:
        """Nothing: see above."""
        return nullcontext()
