"""Ablations and sweeps: what is shared is trained once, what is done is not done again, what fails is told, and a kill undoes nothing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from roadcast.config import load_config
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.research.ablate import ablate
from roadcast.research.store import Store
from roadcast.research.sweep import sweep
from roadcast.research.work import Order
from studies import Processes, make_reel, write_study

VARIANT = '[variants]\npredict-v = ["flow.prediction=v"]\n'
SPACE = '[space]\n"train.dynamics.lr" = { low = 1e-4, high = 1e-2, log = true }\n'


@pytest.fixture
def processes(monkeypatch) -> Processes:
    return Processes(monkeypatch)


def silent(_: str) -> None:
    """Tells nobody."""


def test_an_ablation_trains_what_is_shared_once_and_each_run_once(tmp_path, processes):
    study = write_study(tmp_path, VARIANT)
    outcome = ablate(study, tmp_path / "out", tell=silent)
    assert processes.begun == ["shared", "base", "predict-v", "base", "predict-v"]
    assert (outcome.finished, outcome.of) == (4, 4)
    rows = [["less the base", "seeds"], ["base", "2"], ["last frame repeated", ""], ["predict-v", "2"]]
    assert [cells[:2] for cells in outcome.table] == rows
    assert "predict-v" in (tmp_path / "out" / "table.md").read_text()
    assert "predict-v" in outcome.page.read_text()
    processes.begun.clear()
    assert ablate(study, tmp_path / "out", tell=silent).table == outcome.table
    assert processes.begun == []


def test_more_variants_and_seeds_may_be_asked_for_later(tmp_path, processes):
    ablate(write_study(tmp_path, VARIANT, seeds="[0]"), tmp_path / "out", tell=silent)
    processes.begun.clear()
    more = VARIANT + 'full = ["dynamics.attention=full"]\n'
    assert ablate(write_study(tmp_path, more), tmp_path / "out", tell=silent).finished == 6
    assert processes.begun == ["full", "base", "predict-v", "full"]


def test_a_variant_of_the_tokenizer_has_its_own(tmp_path, processes):
    both = VARIANT + 'wide = ["tokenizer.latent_channels=6"]\n'
    ablate(write_study(tmp_path, both, seeds="[0]"), tmp_path / "out", jobs=2, tell=silent)
    assert sorted(processes.begun) == ["base", "predict-v", "shared", "shared", "wide"]


def test_a_run_that_fails_is_told_and_the_others_go_on(tmp_path, processes):
    study, said = write_study(tmp_path, VARIANT), []
    processes.failing = {"predict-v"}
    outcome = ablate(study, tmp_path / "out", tell=said.append)
    assert (outcome.finished, outcome.of) == (2, 4)
    assert "predict-v-0: failed: out of luck" in said
    assert outcome.table[3][:2] == ["predict-v", "0"]
    processes.failing, processes.begun = set(), []
    assert ablate(study, tmp_path / "out", tell=said.append).finished == 4
    assert processes.begun == ["predict-v", "predict-v"]


def test_what_was_run_with_other_settings_is_refused_before_anything_is_trained(tmp_path, processes):
    ablate(write_study(tmp_path, VARIANT), tmp_path / "out", tell=silent)
    processes.begun.clear()
    other = write_study(tmp_path, 'settings = ["train.dynamics.lr=0.5"]\n' + VARIANT)
    with pytest.raises(
        UserError, match=r"base-0 was run with other settings \(config.train.dynamics.lr = 0.0003, now 0.5\)"
    ):
        ablate(other, tmp_path / "out", tell=silent)
    assert processes.begun == []


def test_a_run_that_was_begun_with_other_settings_is_refused(tmp_path, processes):
    processes.failing = {"predict-v"}
    ablate(write_study(tmp_path, VARIANT, seeds="[0]"), tmp_path / "out", tell=silent)
    other = write_study(
        tmp_path, VARIANT.replace("]", ', "dynamics.registers=0"]', 2).replace(', "dynamics.registers=0"]', "]", 1)
    )
    with pytest.raises(UserError, match=r"predict-v-0: was begun with other settings"):
        ablate(other, tmp_path / "out", tell=silent)


def test_a_sweep_keeps_its_points_and_grows(tmp_path, processes):
    study, out = write_study(tmp_path, SPACE), tmp_path / "out"
    first = sweep(study, out, runs=2, tell=silent)
    assert processes.begun == ["shared", "0", "1"]
    processes.begun.clear()
    more = sweep(study, out, runs=3, sampler="tpe", tell=silent)
    assert processes.begun == ["2"]
    assert {tuple(cells) for cells in first.table} <= {tuple(cells) for cells in more.table} and len(more.table) == 5
    assert more.table[1][0] == more.best.name == "1"
    assert f"train.dynamics.lr={load_config(more.recipe).train['dynamics'].lr!r}" in more.best.changes


def test_a_run_of_a_sweep_that_was_begun_keeps_its_point(tmp_path, processes):
    """Though by now another would be chosen."""
    study, out = write_study(tmp_path, SPACE), tmp_path / "out"
    processes.failing = {"1"}
    sweep(study, out, runs=2, tell=silent)
    order = Order.read(out / "runs" / "1-0")
    assert order is not None and order.trial is not None
    processes.failing = set()
    assert sweep(study, out, runs=2, sampler="tpe", tell=silent).finished == 2
    row = Store(out / "results").get("1-0")
    assert row is not None and row.changes == order.trial["changes"]


def test_sweeps_that_cannot_be_are_told(tmp_path, processes):
    with pytest.raises(UserError, match=r"has no \[space\] to look in"):
        sweep(write_study(tmp_path, VARIANT), tmp_path / "out", runs=2)
    with pytest.raises(UserError, match="sampler 'grid' is unknown; choose one of random, tpe"):
        sweep(write_study(tmp_path, SPACE), tmp_path / "out", runs=2, sampler="grid")
    with pytest.raises(UserError, match="runs = 0; use 1 or more"):
        sweep(write_study(tmp_path, SPACE), tmp_path / "out", runs=0)
    with pytest.raises(UserError, match="jobs = 0; use 1 or more"):
        sweep(write_study(tmp_path, SPACE), tmp_path / "out", runs=1, jobs=0)
    processes.failing = {"0"}
    with pytest.raises(UserError, match="no run of the sweep succeeded"):
        sweep(write_study(tmp_path, SPACE), tmp_path / "out", runs=1, tell=silent)


def test_a_sweep_of_another_space_is_refused(tmp_path, processes):
    sweep(write_study(tmp_path, SPACE), tmp_path / "out", runs=1, tell=silent)
    more = SPACE + '"flow.context_noise" = { low = 0.0, high = 0.1 }\n'
    with pytest.raises(UserError, match=r"is of another space than train.dynamics.lr, flow.context_noise"):
        sweep(write_study(tmp_path, more), tmp_path / "out", runs=2, tell=silent)


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "base-0.json").write_text("{}")
    with pytest.raises(UserError, match=r"base-0.json: is no result of a run .* remove the file"):
        Store(tmp_path).rows()


@pytest.fixture(scope="module")
def reel(tmp_path_factory) -> Path:
    return make_reel(tmp_path_factory.mktemp("research") / "reel")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_share_a_tokenizer_begin_as_their_seed_says_and_tell_what_they_are(reel, tmp_path, monkeypatch):
    Processes(monkeypatch, real=True)
    ablate(write_study(tmp_path, VARIANT, reel, seeds="[1]"), tmp_path / "out", tell=silent)
    runs = tmp_path / "out" / "runs"
    base, other = (World.load(runs / name / "world") for name in ("base-1", "predict-v-1"))
    assert all(torch.equal(w, other.tokenizer.state_dict()[n]) for n, w in base.tokenizer.state_dict().items())
    assert not torch.equal(base.dynamics.outlet.weight, other.dynamics.outlet.weight)
    assert all((path / "latents").is_symlink() for path in runs.iterdir())

    begun = World.load(runs / "predict-v-1" / "tokenizer" / "world")
    torch.manual_seed(1)
    own = World(begun.config)
    assert begun.config.flow.prediction == "v"
    assert all(torch.equal(w, own.dynamics.state_dict()[n]) for n, w in begun.dynamics.state_dict().items())

    row = Store(tmp_path / "out" / "results").get("predict-v-1")
    assert row is not None
    assert (row.study, row.name, row.seed, row.changes) == ("study", "predict-v", 1, ["flow.prediction=v"])
    assert row.config["seed"] == 1 and row.config["flow"]["prediction"] == "v"
    assert (row.protocol["context"], row.protocol["horizon"], row.protocol["split"]) == (3, 4, "val")
    assert {"psnr@1", "psnr@4", "warp_error@2", "val_x"} <= row.scores.keys()
    assert row.floor["psnr@2"] != row.scores["psnr@2"]
    mean, low, high = row.scores["psnr@2"]
    assert low <= mean <= high
    assert row.parameters.keys() == {"tokenizer", "dynamics"} and row.seconds["train"] > 0
    assert row.record["environment"]["cores"] == os.cpu_count()


SCRIPT = "import sys; from pathlib import Path; from roadcast.research.ablate import ablate; ablate(Path(sys.argv[1]), Path(sys.argv[2]))"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_study_takes_its_runs_along_and_goes_on_to_the_same_scores(reel, tmp_path):
    """The command is killed between two saved states of a run; told again, it ends as a study that nothing befell, digit for digit."""
    lengths = 'settings = ["train.dynamics.steps=40", "train.dynamics.save_every=15"]\n'
    study = write_study(tmp_path, lengths + VARIANT, reel, seeds="[0]")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    stage = cut / "runs" / "base-0" / "dynamics"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(study), str(cut)])
    try:
        wait_for(lambda: steps(stage) >= 20)
    finally:
        process.kill()
        process.wait()
    time.sleep(2)
    reached = steps(stage)
    time.sleep(2)
    assert 20 <= reached == steps(stage) < 40
    for out in (cut, whole):
        ablate(study, out, tell=silent)
    for key in ("base-0", "predict-v-0"):
        ours, theirs = (json.loads((out / "results" / f"{key}.json").read_text())["scores"] for out in (whole, cut))
        assert ours == theirs


def steps(stage: Path) -> int:
    """Lines of a stage's log, one a step."""
    return len((stage / "log.jsonl").read_text().splitlines()) if (stage / "log.jsonl").exists() else 0


def wait_for(condition) -> None:
    """Until it holds; at most ten minutes."""
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
