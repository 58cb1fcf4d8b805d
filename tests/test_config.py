"""roadcast.config and roadcast.presets: what goes in comes out, and every mistake is named with its remedy."""

import dataclasses
import json

import pytest

from roadcast import config as config_module
from roadcast.config import SCHEMA, Config, load_config, migrate, override
from roadcast.errors import UserError
from roadcast.overlay import overlay
from roadcast.presets import PRESETS, preset_config, tiny


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_has_both_stages(name):
    config = preset_config(name).validate()
    assert [stage.objective for stage in config.train.values()] == ["tokenizer", "diffusion_forcing"]
    assert list(config.train) == ["tokenizer", "dynamics"]


def test_presets_grow():
    pixels = [c.data.height * c.data.width for c in map(preset_config, PRESETS)]
    widths = [c.dynamics.width for c in map(preset_config, PRESETS)]
    assert pixels == sorted(pixels)
    assert widths == sorted(set(widths))


def test_a_preset_is_made_afresh_each_time():
    changed = tiny()
    changed.train["tokenizer"].steps = 1
    assert tiny().train["tokenizer"].steps != 1


def test_unknown_preset_names_the_choices():
    with pytest.raises(UserError, match="'huge' is unknown; choose one of tiny, small, base, large"):
        preset_config("huge")


@pytest.mark.parametrize("name", PRESETS)
def test_save_then_load_is_the_same_config(name, tmp_path):
    config = override(preset_config(name), ["seed=7", "train.dynamics.options={ramp = 1}"])
    config.save(tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == config


def test_toml_lies_over_its_preset(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('preset = "tiny"\n[data]\nreel = "reels/a"\nfps = 10\n[train.dynamics]\nsteps = 5\n')
    config = load_config(recipe)
    expected = tiny()
    expected.data = dataclasses.replace(expected.data, reel="reels/a", fps=10.0)
    expected.train["dynamics"].steps = 5
    assert config == expected
    assert isinstance(config.data.fps, float)


def test_an_option_is_a_number_or_a_word():
    config = override(
        tiny(), ["train.dynamics.options={schedule = 'drift', rise = 1}", "train.dynamics.options.way=linear"]
    )
    assert config.train["dynamics"].options == {"ramp": 0.5, "schedule": "drift", "rise": 1.0, "way": "linear"}
    assert isinstance(config.train["dynamics"].options["rise"], float)


def test_file_lies_over_the_base_that_is_given_and_leaves_it_alone(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[flow]\nsteps = 7\n")
    base = tiny()
    config = load_config(recipe, base)
    assert (config.flow.steps, base.flow.steps) == (7, 2)
    assert config.train == base.train


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "data = [", r"a\.toml: cannot be read as \.toml"),
        ("a.json", "{", r"a\.json: cannot be read as \.json"),
        ("a.toml", "sede = 1", r"a\.toml: unknown key sede; did you mean seed\?"),
        ("a.toml", "[data]\nhieght = 64", r"unknown key data\.hieght; did you mean data\.height\?"),
        ("a.toml", "[flow]\nzzz = 64", r"unknown key flow\.zzz; known: prediction, steps, context_noise"),
        (
            "a.toml",
            "[train.x]\nobjektive = 'y'",
            r"unknown key train\.x\.objektive; did you mean train\.x\.objective\?",
        ),
        ("a.toml", "seed = 1.5", r"seed = 1\.5 is not of type int"),
        ("a.toml", "seed = true", "seed = True is not of type int"),
        ("a.toml", "data = 3", "data = 3 is not of type DataConfig"),
        ("a.toml", "[data]\nfps = '20'", r"data\.fps = '20' is not of type float"),
        ("a.toml", "[data]\nfps = true", r"data\.fps = True is not of type float"),
        ("a.toml", "[tokenizer]\nwidths = [64, 1.5]", r"tokenizer\.widths\[1\] = 1\.5 is not of type int"),
        ("a.toml", "[train.x]\nbetas = [0.9]", r"train\.x\.betas = \[0\.9\] is not of type"),
        ("a.toml", "[train.x]\noptions = { a = true }", r"train\.x\.options\.a = True is not of type float \| str"),
        ("a.toml", "preset = 'huge'", "preset 'huge' is unknown"),
        ("a.toml", f"schema = {SCHEMA + 1}", f"schema = {SCHEMA + 1}, but this roadcast reads 1 to {SCHEMA}"),
        ("a.toml", "schema = 0", "schema = 0, but"),
        ("a.toml", "schema = 'one'", "schema = 'one', but"),
        ("a.toml", "[train.x]\nsteps = 5", r"train\.x\.objective is empty"),
    ],
)
def test_mistakes_in_a_file_are_named(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_config(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: no such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"seed = 1 # \xff")
    with pytest.raises(UserError, match=r"latin\.toml: cannot be read"):
        load_config(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("assignment", "read", "value"),
    [
        ("seed=3", lambda c: c.seed, 3),
        ("data.reel=reels/a", lambda c: c.data.reel, "reels/a"),
        ('data.reel="a=b"', lambda c: c.data.reel, "a=b"),
        ("data.fps=10", lambda c: c.data.fps, 10.0),
        ("tokenizer.widths=[8, 16, 32]", lambda c: c.tokenizer.widths, (8, 16, 32)),
        ("train.dynamics.steps=200", lambda c: c.train["dynamics"].steps, 200),
        ("train.dynamics.options.weight=2", lambda c: c.train["dynamics"].options["weight"], 2.0),
        ("train.distil.objective=shortcut", lambda c: c.train["distil"].objective, "shortcut"),
        (' dynamics.actions=["steer"]', lambda c: c.dynamics.actions, ("steer",)),
    ],
)
def test_override_sets_one_value_and_nothing_else(assignment, read, value):
    before = tiny()
    after = override(before, [assignment])
    assert read(after) == value
    assert before == tiny()
    assert type(read(after)) is type(value)
    path = assignment.partition("=")[0].strip().split(".")
    top = {f.name for f in dataclasses.fields(Config)} - {path[0]}
    assert all(getattr(after, name) == getattr(before, name) for name in top)


def test_overrides_apply_in_order():
    assert override(tiny(), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "override 'seed' has no '='; write section.key=value"),
        ("seed=abc", "override 'seed=abc': seed = 'abc' is not of type int"),
        ("data.widht=128", r"unknown key data\.widht; did you mean data\.width\?"),
        ("data.height=100", r"data\.height = 100 is no multiple of the tokenizer's stride 16; use a multiple of 16"),
        ("data.width=0", r"data\.width = 0"),
        ("dynamics={width = 256, heads = 7}", r"dynamics\.width must divide by dynamics\.heads"),
        ("dynamics={heads = 8, kv_heads = 3}", r"dynamics\.heads by dynamics\.kv_heads"),
        ("dynamics={width = 16, heads = 8, kv_heads = 1}", "must divide by 4"),
        ("flow.prediction=noise", r"flow\.prediction = 'noise'; use 'x' or 'v'"),
        ("train.distil.steps=5", r"train\.distil\.objective is empty"),
        ("train.dynamics.remat=full", r"train\.dynamics\.remat = 'full'; use one of none, selective, block"),
    ],
)
def test_mistakes_in_an_override_are_named(assignment, message):
    with pytest.raises(UserError, match=message):
        override(tiny(), [assignment])


def test_stride_is_the_patch_times_the_halvings():
    assert overlay(Config(), {"tokenizer": {"patch": 2, "widths": [8, 8, 8, 8]}}, "here").tokenizer.stride == 16


def test_migrations_run_one_version_at_a_time(monkeypatch):
    monkeypatch.setattr(config_module, "SCHEMA", 3)
    renamed = {
        1: lambda values: {**values, "b": values["a"] + 1},
        2: lambda values: {**values, "c": values["b"] + 1},
    }
    monkeypatch.setattr(config_module, "MIGRATIONS", renamed)
    assert migrate({"schema": 1, "a": 1}, "here") == {"schema": 3, "a": 1, "b": 2, "c": 3}
    assert migrate({"schema": 2, "b": 5}, "here") == {"schema": 3, "b": 5, "c": 6}
    assert migrate({"b": 5}, "here") == {"schema": 3, "b": 5}


def test_every_past_schema_has_its_migration():
    assert sorted(config_module.MIGRATIONS) == list(range(1, SCHEMA))


def test_saved_config_carries_its_schema(tmp_path):
    tiny().save(tmp_path / "config.json")
    assert json.loads((tmp_path / "config.json").read_text())["schema"] == SCHEMA
