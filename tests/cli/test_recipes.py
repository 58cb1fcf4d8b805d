"""Every recipe loads, and says something its preset does not."""

from pathlib import Path

import pytest

from roadcast.cli.folders import recipe_path
from roadcast.config import load_config
from roadcast.objectives.base import OBJECTIVES
from roadcast.presets import PRESETS, preset_config

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_there_is_a_recipe_for_every_preset_and_the_demo():
    assert {path.stem for path in RECIPES} == {*PRESETS, "demo"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_over_its_preset(path):
    config = load_config(path)
    assert config.data.height == preset_config("tiny" if path.stem == "demo" else path.stem).data.height
    assert all(stage.objective in OBJECTIVES for stage in config.train.values())
    assert list(config.train)[:2] == ["tokenizer", "dynamics"]


def test_the_demo_finds_its_recipe():
    assert recipe_path("demo").read_text().startswith("# The recipe of `roadcast demo`")
