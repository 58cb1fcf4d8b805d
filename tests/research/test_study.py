"""A study's file: what it says, and what is wrong with it told in one line."""

from pathlib import Path

import pytest

from roadcast.errors import UserError
from roadcast.research.shared import shared_part
from roadcast.research.study import load_study, trials, variants

BASE = 'recipe = "base.toml"\nsource = "toyroad:recordings=2"\n'
TWO = BASE + '[variants]\nv = ["flow.prediction=v"]\n'


@pytest.fixture
def load(tmp_path):
    def of(text: str):
        (tmp_path / "base.toml").write_text('preset = "tiny"\n')
        (tmp_path / "study.toml").write_text(text)
        return load_study(tmp_path / "study.toml")

    return of


def test_variants_are_changed_one_at_a_time_and_the_grid_in_all_combinations(load):
    grid = '[grid]\nprediction = ["flow.prediction=x", "flow.prediction=v"]\nregisters = ["dynamics.registers=3", "dynamics.registers=0"]\n'
    study = load("seeds = [4, 5]\n" + TWO + grid)
    assert variants(study) == {
        "base": (),
        "v": ("flow.prediction=v",),
        "prediction=x+registers=0": ("flow.prediction=x", "dynamics.registers=0"),
        "prediction=v+registers=3": ("flow.prediction=v", "dynamics.registers=3"),
        "prediction=v+registers=0": ("flow.prediction=v", "dynamics.registers=0"),
    }
    assert [trial.key for trial in trials(study)][:6] == [
        "base-4",
        "v-4",
        *(f"{n}-4" for n in list(variants(study))[2:]),
        "base-5",
    ]
    assert study.config(Path("reel"), ("flow.prediction=v",), 4).flow.prediction == "v"
    assert study.config(Path("reel"), (), 4).seed == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('source = "toyroad:"\n', "recipe is empty"),
        ('recipe = "base.toml"\n', "give one of them"),
        (BASE + 'reel = "r"\n', "give one of them"),
        (BASE + "seeds = [1, 1]\n", r"seeds = \[1, 1\]; give one or more, each once"),
        (BASE + "seed = [1]\n", "unknown key seed; did you mean seeds"),
        (BASE + 'scores = ["psnr"]\n', "'psnr' is no score; write NAME@FRAMES"),
        (BASE + 'scores = ["psnr@17"]\n', "'psnr@17' is no score"),
        (BASE + 'scores = ["steering"]\n', "steering needs measure.steering_contexts = 7 or more, here 0"),
        (BASE + "scores = []\n", "scores is empty"),
        (BASE + 'shared = ["dynamics"]\n', r"shared = \['dynamics'\]; name the first of the stages tokenizer, dynamics, not all"),
        (BASE + 'shared = ["tokenizer", "dynamics"]\n', "not all"),
        (BASE + '[space]\n"seed" = { low = 2, high = 1 }\n', "space.seed: from 2 to 1; give low < high"),
        (BASE + '[space]\n"seed" = { low = 0, high = 1, log = true }\n', "above 0 where log"),
        (BASE + "[", "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(load, text, message):
    with pytest.raises(UserError, match=message):
        load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE, "nothing to hold against the base"),
        (BASE + '[variants]\nsame = ["flow.prediction=x"]\n', "variants.same .* changes nothing about the base"),
        (BASE + '[variants]\n"a/b" = ["flow.prediction=v"]\n', "use no slash"),
        (BASE + '[variants]\nbad = ["flow.predicted=v"]\n', "did you mean flow.prediction"),
    ],
)
def test_variants_that_cannot_be_are_told(load, text, message):
    with pytest.raises(UserError, match=message):
        variants(load(text))


def test_a_study_that_is_not_there_points_to_examples(tmp_path):
    with pytest.raises(UserError, match="no such file; recipes/ablate_"):
        load_study(tmp_path / "none.toml")


def test_runs_share_the_tokenizer_unless_it_differs(load):
    """What the dynamics do, the seed of the run and how it is computed are no matter to a stage that reads frames."""
    study = load(TWO)

    def part(*changes: str):
        return shared_part(study.config(Path("reel"), changes), ("tokenizer",)).to_dict()

    assert part("flow.prediction=v", "dynamics.depth=6", "train.dynamics.lr=0.1", "compute.compile=true") == part()
    for change in (
        "tokenizer.latent_channels=8",
        "train.tokenizer.steps=3",
        "data.height=128",
        "dynamics.actions=['steer']",
    ):
        assert part(change) != part(), change


def test_what_trains_the_dynamics_is_shared_by_equal_dynamics_alone(load):
    study = load(BASE + 'settings = ["train.finetune.objective=teacher_forcing"]\nshared = ["tokenizer", "dynamics"]\n')

    def part(*changes: str):
        return shared_part(study.config(Path("reel"), changes), study.shared).to_dict()

    assert part("train.finetune.steps=3") == part() != part("dynamics.depth=6")
