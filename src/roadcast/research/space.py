"""Where a sweep looks next: at random, or where what is known says it pays (TPE, through Optuna)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.errors import UserError
from roadcast.optional import load_extra
from roadcast.research.study import Range

SAMPLERS = ("random", "tpe")

Point = dict[str, float | int | str]
"""A value for every setting of the space; of a choice, as it is written for `--set`."""


@dataclass(frozen=True)
class Tried:
    """A point and what came of it: something to make small (research/score.py, `badness`)."""

    point: Point
    badness: float


def ask(sampler: str, space: Mapping[str, Range], tried: Sequence[Tried], seed: int, number: int) -> Point:
    """The point of run `number`, which depends on these arguments alone.

    random  each setting by itself, whatever was found (Bergstra & Bengio 2012)
    tpe     of the points that were `tried`, near those that did well (Bergstra et al. 2011)
    """
    if sampler == "tpe":
        point = load_extra("optuna", "a sweep by TPE").ask(space, tried, seed + number)
    else:
        generator = np.random.default_rng([seed, number])
        point = {name: draw(range_, generator) for name, range_ in space.items()}
    return {name: short(value, space[name]) for name, value in point.items()}


def short(value: float | int | str, range_: Range) -> float | int | str:
    """A number with the four digits that anybody would write, inside its range."""
    return min(max(float(f"{value:.4g}"), range_.low), range_.high) if isinstance(value, float) else value


def draw(range_: Range, generator: np.random.Generator) -> float | int | str:
    """One value, each as likely as the range says."""
    if range_.choice:
        return range_.choice[generator.integers(len(range_.choice))]
    low, high = range_.low, range_.high
    if range_.whole:
        low, high = low - 0.5, high + 0.5
    value = math.exp(generator.uniform(math.log(low), math.log(high))) if range_.log else generator.uniform(low, high)
    return min(max(round(value), round(range_.low)), round(range_.high)) if range_.whole else value


def changes_of(point: Point) -> tuple[str, ...]:
    """A point as dotted assignments."""
    return tuple(f"{name}={value}" for name, value in point.items())


def point_of(changes: Sequence[str], space: Mapping[str, Range]) -> Point:
    """The point that such assignments were made of; `UserError` where it lies in another space."""
    texts = dict(change.split("=", 1) for change in changes)
    if texts.keys() != space.keys():
        raise UserError(
            f"a run with {', '.join(changes)} is of another space than {', '.join(space)}; choose another --out"
        )
    return {
        name: texts[name] if range_.choice else int(texts[name]) if range_.whole else float(texts[name])
        for name, range_ in space.items()
    }
