"""Every benchmark's quick look runs, and its last line is one JSON object of figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NEEDS_MORE = {"harness.py"}
"""Takes another benchmark's name."""


def quick_looks() -> list[str]:
    scripts = (path for path in sorted(BENCHMARKS.glob("*.py")) if path.name not in NEEDS_MORE)
    return [path.name for path in scripts if '"--quick"' in path.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("script", quick_looks())
def test_a_quick_look_ends_with_its_figures(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--quick"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])
