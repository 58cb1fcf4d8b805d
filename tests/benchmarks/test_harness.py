"""The harness flags what has become worse beyond noise, and nothing that wobbles within it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FAKE = """
import json, pathlib, sys
calls = pathlib.Path(__file__).with_suffix(".calls")
n = int(calls.read_text()) if calls.exists() else 0
calls.write_text(str(n + 1))
factor = float(pathlib.Path(__file__).with_suffix(".factor").read_text())
wobble = 1 + 0.02 * (n * 7 % 5 - 2)
print("some words")
print(json.dumps({"step_ms": 10 * wobble * factor, "frames": {"cpu_fps": 50 / wobble / factor}, "seed": n}))
"""


@pytest.fixture(autouse=True)
def _benchmarks_are_at_hand(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def harness(tmp_path):
    """Runs the harness over a benchmark that takes `factor` times as long as at first, and wobbles by some per cent."""
    (tmp_path / "fake.py").write_text(FAKE)

    def call(factor: float, *options: str) -> tuple[int, str]:
        (tmp_path / "fake.factor").write_text(str(factor))
        command = [
            sys.executable,
            str(BENCHMARKS / "harness.py"),
            str(tmp_path / "fake.py"),
            "--baselines",
            str(tmp_path),
        ]
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        return done.returncode, done.stdout

    return call


@pytest.mark.slow
def test_a_slower_benchmark_is_flagged_and_one_that_wobbles_is_not(harness):
    code, said = harness(1.0)
    assert code == 0 and said.startswith("baseline: ")
    code, said = harness(1.0, "--repeats", "4")
    assert code == 0 and json.loads(said.splitlines()[-1])["worse"] == []
    code, said = harness(2.0)
    assert code == 1 and json.loads(said.splitlines()[-1])["worse"] == ["step_ms", "frames.cpu_fps"]
    assert harness(2.0, "--update")[0] == 0
    assert harness(2.0)[0] == 0


def test_beyond_noise_is_more_than_deviations_and_more_than_a_share():
    from harness import Figure, compare

    base = Figure.of([10.0, 10.2, 9.8, 10.1, 9.9])
    assert base.median == 10.0 and base.mad == pytest.approx(0.1)
    assert compare("step_ms", base, Figure.of([20.0, 20.4, 19.6, 20.2, 19.8])).verdict == "worse"
    assert compare("step_ms", base, Figure.of([5.0, 5.1, 4.9, 5.0, 5.0])).verdict == "better"
    assert compare("step_ms", base, Figure.of([10.3, 10.5, 10.1, 10.2, 10.4])).verdict == ""
    noisy = Figure.of([10.0, 14.0, 6.0, 12.0, 8.0])
    assert compare("step_ms", noisy, Figure.of([18.0, 22.0, 14.0, 20.0, 16.0])).verdict == ""
    steady = Figure.of([100.0] * 5)
    assert compare("size_bytes", steady, Figure.of([101.0] * 5)).verdict == ""
    assert compare("size_bytes", steady, Figure.of([120.0] * 5)).verdict == "worse"
    assert compare("seed", steady, Figure.of([900.0] * 5)).verdict == ""


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("cpu_fps_tiny_64x128", "lower"), ("samples_per_s", "lower"), ("compile_speedup", "lower"), ("step_ms", "higher"),
        ("compile_s_tiny", "higher"), ("base.cost.step_p99", "higher"), ("steps", ""), ("seed", ""),
    ],
)  # fmt: skip
def test_which_way_is_worse_is_read_from_the_name(name, way):
    from harness import worse_way

    assert worse_way(name) == way


def test_numbers_of_a_line_have_dotted_names():
    from harness import flat

    assert flat({"a": 1, "b": {"c": [2.5, {"d": 3}]}, "ok": True, "word": "x"}) == {
        "a": 1.0,
        "b.c.0": 2.5,
        "b.c.1.d": 3.0,
    }
