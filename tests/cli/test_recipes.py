"""Every recipe loads, and says something its preset does not."""

from pathlib import Path

import numpy as np
import pytest

from roadcast.cli.folders import recipe_path
from roadcast.config import load_config
from roadcast.objectives.base import OBJECTIVES
from roadcast.presets import PRESETS, preset_config
from roadcast.research.space import changes_of, draw
from roadcast.research.study import load_study, variants

FILES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
STUDIES = [path for path in FILES if path.stem.startswith(("ablate_", "sweep_"))]
RECIPES = [path for path in FILES if path not in STUDIES]


ON_THEIR_OWN = {"judge", "features"}
"""Recipes that are laid over no preset."""
OVER_TINY = {"demo", "box", "curriculum"}


def test_there_is_a_recipe_for_every_preset_and_the_demo():
    assert {path.stem for path in RECIPES} == {*PRESETS} | OVER_TINY | ON_THEIR_OWN


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_over_its_preset(path):
    config = load_config(path)
    for stage in config.train.values():
        OBJECTIVES[stage.objective].settings(stage.options)
    if path.stem not in ON_THEIR_OWN:
        assert config.data.height == preset_config("tiny" if path.stem in OVER_TINY else path.stem).data.height
        assert list(config.train)[:2] == ["tokenizer", "dynamics"]


def test_the_encoder_of_features_is_trained_before_the_tokenizer_that_asks_it():
    config = load_config(recipe_path("features"))
    assert config.features.depth and list(config.train) == ["features", "contrast", "tokenizer", "dynamics"]
    assert config.train["tokenizer"].options["alignment"] > 0


def test_the_curriculum_goes_from_the_truth_to_self_made_context():
    stages = list(load_config(recipe_path("curriculum")).train.values())[1:]
    assert [stage.objective for stage in stages] == [
        "teacher_forcing",
        "diffusion_forcing",
        "self_context",
        "self_forcing",
    ]
    assert stages[2].options["schedule"] == "drift"


def test_one_judge_compares_videos_and_reads_commands_back():
    config = load_config(recipe_path("judge"))
    assert config.features.depth and config.inverse.width
    assert [stage.objective for stage in config.train.values()] == ["jepa", "contrastive", "inverse_dynamics"]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_run_of_a_study_can_be_configured(path):
    study = load_study(path)
    if path.stem.startswith("sweep_"):
        generator = np.random.default_rng(0)
        changes = changes_of({name: draw(range_, generator) for name, range_ in study.space.items()})
        assert study.config(Path("reel"), changes).to_dict() != study.config(Path("reel")).to_dict()
    else:
        configs = [study.config(Path("reel"), changes) for changes in variants(study).values()]
        assert len({repr(config) for config in configs}) > 1
        for stage in (stage for config in configs for stage in config.train.values()):
            OBJECTIVES[stage.objective].settings(stage.options)


def test_the_demo_finds_its_recipe():
    assert recipe_path("demo").read_text().startswith("# The recipe of `roadcast demo`")
