from pathlib import Path

import pytest
import torch

from roadcast.config import override
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.training.ladder import ladder
from roadcast.training.run import train
from worlds import micro_config, random_world


def test_each_rung_is_a_stage_that_has_fewer_passes():
    config = ladder(Path("runs/mine/world"), micro_config(), [4, 2, 1], steps=200).validate()
    assert list(config.train) == ["self_forcing_4", "self_forcing_2", "self_forcing_1"]
    assert [stage.options["steps"] for stage in config.train.values()] == [4, 2, 1]
    assert {stage.options["exit"] for stage in config.train.values()} == {"all"}
    assert config.start.endswith("runs/mine/world") and config.guard.anomaly == "off"
    assert all(stage.lr < micro_config().train["dynamics"].lr for stage in config.train.values())


def test_a_rung_begins_with_the_finished_world_whatever_rungs_came_before(toy_reel, tmp_path):
    """Trained after another rung or alone, it comes out the same."""
    begun = override(micro_config(), [f"data.reel={toy_reel}"])
    random_world().save(tmp_path / "world")
    for name, passes in (("both", [2, 1]), ("alone", [1])):
        train(ladder(tmp_path / "world", begun, passes, steps=2), tmp_path / name, report=lambda *_: None)
    both, alone = (tmp_path / name / "self_forcing_1" / "world" / "weights.safetensors" for name in ("both", "alone"))
    assert both.read_bytes() == alone.read_bytes()
    above = tmp_path / "both" / "self_forcing_2" / "world" / "weights.safetensors"
    assert both.read_bytes() != above.read_bytes()


def test_a_rung_without_a_finished_world_is_told(toy_reel, tmp_path):
    config = ladder(Path("world"), override(micro_config(), [f"data.reel={toy_reel}"]), [1], steps=10)
    config.start = ""
    with pytest.raises(UserError, match=r"train.self_forcing_1.from_start = true.* give start = RUN/world"):
        train(config, tmp_path, report=lambda *_: None)


@pytest.mark.parametrize("passes", [[], [1, 2], [2, 2], [2, 0]])
def test_passes_that_do_not_fall_are_told(passes):
    with pytest.raises(UserError, match="falling numbers of passes"):
        ladder(Path("world"), micro_config(), passes, steps=10)


def test_a_world_takes_over_the_networks_that_both_have_and_tells_what_does_not_fit():
    judge = micro_config()
    judge.inverse.width = 8
    ours, theirs = World(judge), random_world()
    ours.take_over(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.dynamics.parameters(), theirs.dynamics.parameters(), strict=True))
    with pytest.raises(UserError, match="the dynamics of the world to start from: tensor"):
        World(micro_config(dynamics__width=64)).take_over(theirs)
