"""The demo: every part done once, skipped the second time; and at full length, a world that steers."""

import json
import time

import pytest

from roadcast.cli.main import run

QUICK = (
    "--recordings 3 --frames 25 --clips 2 --horizon 4 --set data.height=32 data.width=64 tokenizer.widths=[8,16,16] "
    "dynamics.width=32 dynamics.depth=2 dynamics.heads=2 dynamics.kv_heads=1 dynamics.context_frames=4 "
    "train.tokenizer.steps=2 train.dynamics.steps=2 train.dynamics.clip_frames=6"
).split()


def test_quick_demo_goes_the_whole_road_and_resumes(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path), *QUICK]) == 0
    told = capsys.readouterr().out
    report = tmp_path / "evaluation" / "report.html"
    assert f"report: {report}\ndrive it: roadcast drive {tmp_path / 'world'}\n" in told
    assert report.exists()
    before = report.stat().st_mtime_ns
    assert run(["demo", "--out", str(tmp_path), *QUICK]) == 0
    assert capsys.readouterr().out.count("done before") == 3
    assert report.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_full_demo_makes_a_world_that_steers_the_right_way(tmp_path):
    began = time.monotonic()
    assert run(["demo", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert found["steering"]["follows"]
    assert time.monotonic() - began < 2000  # about 600 s on two cores that have nothing else to do
