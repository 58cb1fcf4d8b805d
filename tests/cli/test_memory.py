"""`roadcast info --memory`."""

from dataclasses import replace

import pytest
import torch

from roadcast.cli.main import run
from roadcast.presets import tiny
from roadcast.training import memory
from roadcast.training.memory import DrivingMemory, StageMemory


@pytest.mark.slow
def test_a_run_tells_every_stage_and_driving(trained, capsys):
    assert run(["info", str(trained), "--memory", "--batch", "1", "--frames", "4", "--dtype", "bfloat16"]) == 0
    text = capsys.readouterr().out
    for stage in ("tokenizer", "dynamics"):
        assert f"a training step of stage {stage}: 1 clips of 4 frames, bfloat16 under autocast" in text
    for words in ("remat = none (set)", "remat = block", "peak of the step", "keys and values as int8"):
        assert words in text


def test_what_if_asks_for_other_clips_and_leaves_the_rest(monkeypatch, capsys):
    asked, blank = [], StageMemory(0, 0, 0, 0, 0, 0, 0, 0)
    monkeypatch.setattr(memory, "driving_memory", lambda config: DrivingMemory(0, {}, 0, 0, 0))
    monkeypatch.setattr(memory, "stage_memory", lambda config, stage, dtype: asked.append((stage, dtype)) or blank)
    assert run(["info", "tiny", "--memory", "--batch", "3", "--frames", "8", "--dtype", "bfloat16"]) == 0
    assert "stage dynamics: 3 clips of 8 frames, bfloat16 under autocast" in capsys.readouterr().out
    ours = tiny().train["dynamics"]
    assert asked[3:] == [
        (replace(ours, batch=3, clip_frames=8, remat=mode), torch.bfloat16) for mode in ("none", "selective", "block")
    ]


def test_mistakes_are_named(refused, reel):
    assert "add --memory" in refused(["info", "tiny", "--batch", "2"])
    assert "give at least 1" in refused(["info", "tiny", "--memory", "--frames", "0"])
    assert "is a reel" in refused(["info", reel, "--memory"])
    assert "tiny, small, base, large" in refused(["info", "enormous", "--memory"])
