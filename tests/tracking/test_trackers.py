"""What each tracker was told can be read back from it, offline, and a stage that goes on goes on in the same run."""

from importlib.util import find_spec

import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.tracking import build, build_tracker, build_trackers

FILM = np.random.default_rng(0).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
CONFIG = {"seed": 3, "data": {"height": 32}}


def needs(package: str):
    missing = find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install 'roadcast[{package}]'")


def told(name: str, folder, steps, value: float = 1.0):
    """A tracker that was told figures of `steps`, a sentence and a film at the last, and closed."""
    folder.mkdir(parents=True, exist_ok=True)
    log = build_tracker(name, folder, CONFIG)
    for step in steps:
        log.log(step, {"loss": value / step})
    log.text(steps[-1], "anomaly", "the step is not taken")
    log.video(steps[-1], "imagined", FILM, 20.0)
    log.close()


def test_tensorboard_has_figures_text_and_strip(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told("tensorboard", tmp_path, [1, 2])
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert b"not taken" in events.Tensors("anomaly/text_summary")[0].tensor_proto.string_val[0]
    (image,) = events.Images("imagined")
    assert (image.height, image.width) == (32, 6 * 48 + 5 * 2)


@needs("wandb")
@pytest.mark.slow
def test_wandb_keeps_an_offline_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "run" / "dynamics"
    told("wandb", folder, [1, 2])
    told("wandb", folder, [2, 3])
    written = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {path.name for path in written} == {written[0].name}, "one id for a stage, whenever it goes on"
    first = written[0].read_bytes()
    for said in (b"run/dynamics", b"loss", b"the step is not taken", b"height"):
        assert said in first
    assert list((folder / "wandb").glob("offline-run-*/files/media/videos/imagined_*.mp4"))


@needs("mlflow")
@pytest.mark.slow
def test_mlflow_goes_on_in_its_run(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "run" / "dynamics"
    told("mlflow", folder, [1, 2])
    told("mlflow", folder, [3])
    client = MlflowClient((tmp_path / "run" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("roadcast")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run/dynamics" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {m.step: m.value for m in history} == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    films = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "samples")}
    assert films == {f"samples/imagined-{step:08d}{end}" for step in (2, 3) for end in (".mp4", ".png")}
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"anomaly", "samples", "config.json"}


@needs("trackio")
@pytest.mark.slow
def test_trackio_goes_on_in_its_run(tmp_path):
    import os
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests/tracking')\n"
        "from test_trackers import told\n"
        f"told('trackio', Path({str(tmp_path / 'run' / 'dynamics')!r}), [1, 2]); "
        f"told('trackio', Path({str(tmp_path / 'run' / 'dynamics')!r}), [3])\n"
        "import trackio, json; api = trackio.Api(); (run,) = api.runs('roadcast')\n"
        "print('steps', sorted({row['step'] for row in trackio.SQLiteStorage.get_logs('roadcast', run.name)}))"
    )
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")}  # read when trackio is imported
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert "steps [1, 2, 3]" in done.stdout, done.stderr
    assert len(list((tmp_path / "trackio").rglob("*.mp4"))) == 2


def test_a_missing_package_names_its_extra_and_a_wrong_name_the_right_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(build, "tensorboard_installed", lambda: False)
    with pytest.raises(UserError, match=r"'wandb'; install it with: pip install 'roadcast\[wandb\]'"):
        build_tracker("wandb", tmp_path, CONFIG)
    with pytest.raises(
        UserError, match="tracker 'wandbb' is unknown; choose one of mlflow, tensorboard, trackio, wandb"
    ):
        build_tracker("wandbb", tmp_path, CONFIG)
    lines = []
    assert build_trackers(["tensorboard"], tmp_path, CONFIG, lines.append) == []
    assert len(lines) == 1 and "roadcast[track]" in lines[0]


def test_a_tracker_of_ones_own_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "TRACKERS", {})
    made = object()
    build.register_tracker("mine")(lambda folder, config: made if config is CONFIG else None)
    assert build_trackers(["mine"], tmp_path, CONFIG, print) == [made]
