"""`torchrun ... -m roadcast train`: the run of one process, made by two; restarted when one of them dies; resumed by one alone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roadcast.config import Config, override
from roadcast.safetensors import load_tensors
from roadcast.training.metrics import read_log
from roadcast.training.run import train
from worlds import micro_config

DIES = """
import os, signal
from roadcast.training.hooks import Hook, register_hook

@register_hook("dies")
class Dies(Hook):
    '''The second process, once, in the middle of the second stage.'''

    def step(self, run, step, terms):
        mark = run.folder / "died"
        if run.stage == "dynamics" and step == 5 and os.environ.get("RANK") == "1" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

from roadcast.cli.main import main
main()
"""


def config_for(reel: Path, *changes: str) -> Config:
    settings = [
        f"train.{stage}.{name}={value}" for stage in ("tokenizer", "dynamics") for name, value in SETTINGS.items()
    ]
    return override(micro_config(), [f"data.reel={reel}", "compute.trackers=[]", *settings, *changes])


SETTINGS = {"steps": 6, "accumulate": 2, "save_every": 2, "log_every": 1}


def torchrun(
    folder: Path, config: Config, *how: str, script: tuple[str, ...] = ("-m", "roadcast")
) -> subprocess.CompletedProcess:
    """Train in `folder`/run on two processes, as a user would start it."""
    config.save(folder / "recipe.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *how, *script]
    command += ["train", str(folder / "recipe.json"), "--out", str(folder / "run")]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=110, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def assert_alike(ours: Path, theirs: Path) -> None:
    """The same weights and the same losses, within 1e-3 (relative, or 1e-4 absolute): Adam divides by small numbers."""
    a, b = (load_tensors(run / "world" / "weights.safetensors") for run in (ours, theirs))
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    for stage in ("tokenizer", "dynamics"):
        rows, others = (read_log(run / stage / "log.jsonl") for run in (ours, theirs))
        assert [row["step"] for row in rows] == [row["step"] for row in others]
        for key in ("loss", "grad_norm", "val_loss"):
            ours_, theirs_ = ([row[key] for row in log if key in row] for log in (rows, others))
            assert ours_ == pytest.approx(theirs_, rel=1e-3)


def test_two_processes_on_shards_make_the_run_of_one(toy_reel, tmp_path):
    done = torchrun(tmp_path, config_for(toy_reel, "compute.shard=2"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the world is") == 1, "one process speaks"
    assert json.loads((tmp_path / "run" / "record.json").read_text())["processes"] == 2
    train(config_for(toy_reel), tmp_path / "alone", report=lambda *_: None)
    assert_alike(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_torchrun_starts_again_when_a_process_dies_and_one_process_may_go_on_with_what_two_began(toy_reel, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    config = config_for(toy_reel, "compute.pipeline=2", "compute.hooks.dies={}", "train.dynamics.accumulate=4")
    done = torchrun(tmp_path, config, "--max-restarts", "1", script=(str(tmp_path / "dies.py"),))
    assert done.returncode == 0 and (tmp_path / "run" / "dynamics" / "died").exists(), done.stderr
    train(config_for(toy_reel, "train.dynamics.accumulate=4"), tmp_path / "alone", report=lambda *_: None)
    assert_alike(tmp_path / "run", tmp_path / "alone")

    once = tmp_path / "once"
    once.mkdir()
    (once / "dies.py").write_text(DIES)
    done = torchrun(
        once,
        config_for(toy_reel, "compute.hooks.dies={}", "train.dynamics.accumulate=4"),
        script=(str(once / "dies.py"),),
    )
    assert done.returncode != 0 and not (once / "run" / "world").exists()
    train(config_for(toy_reel, "train.dynamics.accumulate=4"), once / "run", report=lambda *_: None)
    assert_alike(once / "run", tmp_path / "alone")


@pytest.mark.slow
def test_one_process_goes_on_with_the_student_the_critic_and_the_discriminator_that_two_held_in_shards(
    toy_reel, tmp_path
):
    roles = [
        "train.dynamics.objective=self_forcing",
        "train.dynamics.options={context = 4, window = 2, steps = 2, identity = 0.1, adversarial = 0.1}",
        "guard.anomaly=off",
    ]
    (tmp_path / "dies.py").write_text(DIES)
    config = config_for(toy_reel, "compute.shard=2", "compute.offload=true", "compute.hooks.dies={}", *roles)
    done = torchrun(tmp_path, config, script=(str(tmp_path / "dies.py"),))
    assert done.returncode != 0 and (tmp_path / "run" / "dynamics" / "died").exists(), done.stderr
    assert not (tmp_path / "run" / "world").exists()
    train(config_for(toy_reel, *roles), tmp_path / "run", report=lambda *_: None)
    train(config_for(toy_reel, *roles), tmp_path / "alone", report=lambda *_: None)
    assert_alike(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_two_nodes_make_the_run_of_one_process(toy_reel, tmp_path):
    """Two agents of torchrun that meet at an address, as on two machines; they share the disk."""
    config_for(toy_reel, "compute.shard=2").save(tmp_path / "recipe.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    meet = [
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        address,
        "--rdzv-id",
        "test",
    ]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *meet,
        "-m",
        "roadcast",
        "train",
        str(tmp_path / "recipe.json"),
    ]
    command += ["--out", str(tmp_path / "run")]
    nodes = [
        subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE) for _ in range(2)
    ]
    errors = [node.communicate(timeout=110)[1].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], errors
    train(config_for(toy_reel), tmp_path / "alone", report=lambda *_: None)
    assert_alike(tmp_path / "run", tmp_path / "alone")


def test_more_processes_than_the_layout_divides_are_refused(toy_reel, tmp_path):
    done = torchrun(tmp_path, config_for(toy_reel, "compute.shard=3"))
    assert done.returncode != 0 and "does not divide the number of processes, 2" in " ".join(done.stderr.split())
