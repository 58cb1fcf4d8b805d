"""A study: one recipe, what is changed about it, and how each run is measured; read from a TOML file (docs/research.md)."""

import itertools
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roadcast.config import Config, load_config, override
from roadcast.errors import UserError
from roadcast.overlay import overlay
from roadcast.research.score import check_score

BASE = "base"


@dataclass
class Measure:
    """How every run is measured: the settings of `roadcast evaluate`."""

    split: str = "val"
    clips: int = 24
    context: int = 8
    horizon: int = 16
    steering_contexts: int = 0


@dataclass
class Range:
    """Where a sweep looks for one setting: from `low` to `high`, evenly in the logarithm where `log`, whole numbers where `whole`;
    or one of `choice`, each written as for `--set`."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choice: tuple[str, ...] = ()


@dataclass
class Study:
    """What is tried. Changes are dotted assignments, as for `--set`.

    recipe    the base, beside the study's file
    reel      to learn from and to be judged by; or `source`, which is ingested first, such as the built-in world
    settings  changes that all runs share, the base too
    seeds     each variant is trained from each of them; a sweep takes the first
    shared    stages that are trained once, from the recipe's own seed, for all runs that do not differ in what these depend on
    variants  by name: changes of their own, one variant at a time
    grid      by axis: the choices, one change each; every combination is a variant
    space     by setting: where a sweep looks
    scores    that the tables show, as NAME@FRAMES or `steering` (research/score.py); the first is the one that counts
    """

    recipe: str = ""
    reel: str = ""
    source: str = ""
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    shared: tuple[str, ...] = ("tokenizer",)
    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    grid: dict[str, tuple[str, ...]] = field(default_factory=dict)
    space: dict[str, Range] = field(default_factory=dict)
    measure: Measure = field(default_factory=Measure)
    scores: tuple[str, ...] = ("psnr@8",)

    def config(self, reel: Path, changes: tuple[str, ...] = (), seed: int | None = None) -> Config:
        """The configuration of a run; that of the base, with the recipe's seed, where nothing else is said."""
        config = load_config(Path(self.recipe))
        config.data.reel, config.data.mixture = str(reel), {}
        return override(config, [*self.settings, *changes, *([] if seed is None else [f"seed={seed}"])])


@dataclass(frozen=True)
class Trial:
    """One run of a study: a variant's name, or a number in a sweep, the changes, and the seed."""

    name: str
    changes: tuple[str, ...]
    seed: int

    @property
    def key(self) -> str:
        """What its files are called."""
        return f"{self.name}-{self.seed}"

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Trial":
        """The run that was written as JSON."""
        return cls(values["name"], tuple(values["changes"]), values["seed"])


def load_study(path: Path) -> Study:
    """The study in a TOML file; `UserError` names the first field that cannot be."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; recipes/ablate_*.toml and recipes/sweep_*.toml are examples") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}") from None
    study = overlay(Study(), values, str(path))
    if not study.recipe:
        raise UserError(f'{path}: recipe is empty; name the base, as recipe = "demo.toml"')
    if bool(study.reel) == bool(study.source):
        raise UserError(f"{path}: reel = {study.reel!r}, source = {study.source!r}; give one of them, and not both")
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise UserError(f"{path}: seeds = {list(study.seeds)}; give one or more, each once")
    for name, range_ in study.space.items():
        _check_range(range_, f"{path}: space.{name}")
    if not study.scores:
        raise UserError(f'{path}: scores is empty; name what to compare by, as scores = ["psnr@8"]')
    for score in study.scores:
        check_score(score, study.measure.horizon, study.measure.steering_contexts, f"{path}: scores")
    return _check_shared(replace(study, recipe=str(path.parent / study.recipe)), path)


def variants(study: Study) -> dict[str, tuple[str, ...]]:
    """Every variant's changes by name: the base first, those by name, then the combinations of the grid that are not the base."""
    base = study.config(Path()).to_dict()
    found = {BASE: (), **study.variants}
    for changes in itertools.product(*study.grid.values()) if study.grid else ():
        if study.config(Path(), changes).to_dict() != base:
            found["+".join(map(short, changes))] = changes
    for name, changes in study.variants.items():
        if study.config(Path(), changes).to_dict() == base:
            raise UserError(f"variants.{name} = {list(changes)} changes nothing about the base; leave it out")
    for name in found:
        if "/" in name or name.startswith("."):
            raise UserError(f"variant {name!r}: a name is also a folder's; use no slash, and no dot in front")
    if len(found) < 2:
        raise UserError("the study has nothing to hold against the base; add [variants] or [grid]")
    return found


def short(change: str) -> str:
    """A change without the sections its setting lies in: `dynamics.registers=0` is `registers=0`."""
    name, _, value = change.partition("=")
    return f"{name.strip().rpartition('.')[2]}={value.strip()}"


def trials(study: Study) -> list[Trial]:
    """Every run of an ablation, seed by seed, so that what is there early holds all variants."""
    return [Trial(name, changes, seed) for seed in study.seeds for name, changes in variants(study).items()]


def _check_range(range_: Range, where: str) -> None:
    if range_.choice:
        return
    if not range_.low < range_.high or (range_.log and range_.low <= 0):
        raise UserError(
            f"{where}: from {range_.low:g} to {range_.high:g}; give low < high, above 0 where log, or a choice"
        )


def _check_shared(study: Study, path: Path) -> Study:
    """Itself, if what is shared are the first of its stages, and not all."""
    stages = list(study.config(Path()).train)
    if list(study.shared) != stages[: len(study.shared)] or len(study.shared) == len(stages):
        raise UserError(
            f"{path}: shared = {list(study.shared)}; name the first of the stages {', '.join(stages)}, not all"
        )
    return study
