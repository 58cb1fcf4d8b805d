"""`roadcast ablate`, `sweep` and `leaderboard` from the command line."""

import json
from pathlib import Path

import pytest

from roadcast.cli.main import run
from rows import PROTOCOL
from studies import Processes, write_study

VARIANT = '[variants]\npredict-v = ["flow.prediction=v"]\n'
SPACE = '[space]\n"train.dynamics.lr" = { low = 1e-4, high = 1e-2, log = true }\n'


@pytest.fixture
def processes(monkeypatch) -> Processes:
    return Processes(monkeypatch)


def test_an_ablation_ends_in_its_table(tmp_path, capsys, processes):
    assert run(["ablate", str(write_study(tmp_path, VARIANT)), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].split()[:4] == ["less", "the", "base", "seeds"]
    assert [line.split()[:2] for line in lines[-4:-1]] == [["base", "2"], ["last", "frame"], ["predict-v", "2"]]
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"


def test_failed_runs_are_counted(tmp_path, capsys, processes):
    processes.failing = {"predict-v"}
    assert run(["ablate", str(write_study(tmp_path, VARIANT)), "--out", str(tmp_path / "out")]) == 0
    assert "2 of 4 runs failed; the same command tries them again" in capsys.readouterr().out


def test_a_sweep_ends_in_its_table_and_the_best(tmp_path, capsys, processes):
    out = tmp_path / "out"
    assert run(["sweep", str(write_study(tmp_path, SPACE)), "--out", str(out), "--runs", "3"]) == 0
    said = capsys.readouterr().out
    assert "best: run 2: train.dynamics.lr=" in said
    assert f"its recipe: {out / 'best.json'}" in said


def write_evaluation(folder: Path) -> Path:
    """metrics.json as `roadcast evaluate` writes it, of a world that has gone."""
    curves = {"mean": [21.0] * 4, "low": [20.0] * 4, "high": [22.0] * 4}
    slope = {"mean": -1.0, "low": -1.5, "high": -0.5}
    protocol = PROTOCOL | {"horizon": 4, "horizons": [1, 2, 4]}
    record = {
        "about": {"world": str(folder / "gone" / "world")}, "protocol": protocol, "steering": None,
        "metrics": {"psnr": {"model": curves, "copy": curves}}, "drift": {"psnr": {"model": slope, "copy": slope}},
        "seconds": {"imagined_frames_per_second": 50.0},
    }  # fmt: skip
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(record))
    return folder


def test_a_leaderboard_of_studies_and_evaluations(tmp_path, capsys, processes):
    """Each protocol on its own board."""
    assert run(["ablate", str(write_study(tmp_path, VARIANT)), "--out", str(tmp_path / "out")]) == 0
    evaluation = write_evaluation(tmp_path / "evaluation")
    capsys.readouterr()
    assert run(["leaderboard", str(tmp_path / "out"), str(evaluation), "--rows", "2"]) == 0
    boards = capsys.readouterr().out.split("reel ")[1:]
    assert len(boards) == 2
    assert "study: predict-v" in boards[0] and "PSNR at 8 (dB)" in boards[0] and "and 2 more" in boards[0]
    assert str(evaluation) in boards[1] and "21.00 +- 1.00" in boards[1] and "PSNR at 4 (dB)" in boards[1]


def test_what_cannot_be_is_told_in_a_line(tmp_path, refused, processes):
    assert "holds no results; give the --out folder" in refused(["leaderboard", tmp_path])
    (tmp_path / "empty" / "results").mkdir(parents=True)
    assert "no run is finished yet" in refused(["leaderboard", tmp_path / "empty"])
    assert "no such file; recipes/ablate_" in refused(["ablate", tmp_path / "none.toml", "--out", tmp_path / "out"])
    study = write_study(tmp_path, VARIANT)
    assert "has no [space] to look in" in refused(["sweep", study, "--out", tmp_path / "out"])
