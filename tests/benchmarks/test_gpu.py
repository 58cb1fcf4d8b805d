"""The script for one GPU, in sizes that prove its code, on the CPU: all that needs no compiler, and slowly the whole of it."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def parts(monkeypatch):
    """What the script measures, and a CPU to measure it on."""
    monkeypatch.syspath_prepend(REPO)
    from benchmarks.gpu.machine import Machine
    from benchmarks.gpu.parts import PARTS

    return {name: part.rows(Machine("cpu", micro=True)) for name, part in PARTS.items()}


def test_driving_is_timed_from_the_command_to_the_picture(parts):
    from benchmarks.gpu.driving import drive
    from benchmarks.gpu.machine import Machine

    row = next(drive(Machine("cpu", micro=True), "base", steps=1, worlds=3))
    assert (row["how"], row["worlds"]) == ("eager", 3) and row["frames_per_s"] == pytest.approx(3e3 / row["p50_ms"])
    assert 0 < row["draft_ms"] < row["p50_ms"] <= row["p99_ms"] and row["step_ms"] > 0


def test_rounded_weights_move_the_latents_a_little(parts):
    row = next(parts["base-fp8"])
    assert row["weights"] == "fp8" and row["kernel"] == "written out" and 0 < row["error_of_latents"] < 0.2


def test_training_is_timed_in_every_mode_and_an_error_is_a_row(parts):
    rows = list(parts["training"])
    assert [row["remat"] for row in rows] == ["block", "block", "selective", "none"]
    assert all(row["clips_per_s"] > 0 and row["peak_GB"] > 0 for row in rows)

    from benchmarks.gpu.machine import attempt

    row = attempt({"remat": "none"}, lambda: {"peak_GB": [][0]})
    assert row == {"remat": "none", "error": "IndexError: list index out of range"}


def test_the_loop_itself_is_timed(parts):
    (row,) = parts["loop"]
    assert (
        row["samples_per_s"] > 0 and 0 < row["mfu"] < 1 and 0 < row["floor_fraction"] < 1 and 0 <= row["data_wait"] < 1
    )


def test_what_must_be_alike_is_checked_and_found_alike(parts):
    rows = list(islice(parts["equality"], 4))
    assert all(row["holds"] == "yes" for row in rows)
    assert [row["difference"] for row in rows if row["allowed"] == 0] == [0.0, 0.0]

    from benchmarks.gpu.equality import check
    from torch import ones

    assert check("1 = 2", 0.4, lambda: (ones(3), 2 * ones(3)))["holds"] == "NO"


def test_attention_is_timed_by_mask_and_back_end(parts):
    reference, sdpa = islice(parts["attention"], 2)
    assert (reference["backend"], sdpa["backend"]) == ("reference", "sdpa") and sdpa["error"] < 1e-5


def test_sessions_are_stepped_together(parts):
    widths, alone, two = islice(parts["batching-tiny"], 3)
    assert widths["widths"] == "1 2 4"
    assert (alone["how"], alone["sessions"], two["sessions"]) == ("eager", 1, 2)
    assert two["frames_per_s"] == pytest.approx(2e3 / two["tick_ms_p50"]) and two["tick_ms_p99"] >= two["tick_ms_p50"]


@pytest.mark.slow
def test_drivers_drive_through_the_server(parts, monkeypatch):
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    monkeypatch.chdir(REPO)
    (row,) = parts["drivers-tiny"]
    assert row["fps_least"] > 0 and 0 < row["action_to_frame_ms_p50"] <= row["action_to_frame_ms_p99"]


@pytest.mark.slow
@pytest.mark.timeout(1260)
def test_the_command_runs_its_parts_apart_and_writes_their_tables(tmp_path):
    only = ["base", "training", "equality"]
    command = [sys.executable, "-m", "benchmarks.gpu", str(tmp_path), "--device", "cpu", "--micro", "--minutes", "20"]
    command += ["--only", *only]
    environment = os.environ | {"PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=REPO, env=environment, capture_output=True, check=True)
    tables = json.loads((tmp_path / "results.json").read_text())
    assert list(tables) == ["machine", *only]
    assert not [row for rows in tables.values() for row in rows if "error" in row]
    assert {row["how"] for row in tables["base"]} == {"eager", "compiled"}
    assert [row["check"] for row in tables["equality"] if row["holds"] == "yes"][-1] == "compiled = eager"
    assert "| base | block | 2 x 2 | 8 |" in (tmp_path / "results.md").read_text()
