"""Where a sweep looks next by the tree-structured Parzen estimator, through Optuna."""

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from roadcast.research.space import Point, Tried
from roadcast.research.study import Range

RANDOM_FIRST = 4
"""Points are drawn at random until so many results are there to learn from."""


def ask(space: Mapping[str, Range], tried: Sequence[Tried], seed: int) -> Point:
    """The next point after those `tried` (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", section 4).

    The study is made anew from what was tried, so that a sweep may stop and go on, and has no state but its results.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: distribution(range_) for name, range_ in space.items()}
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_FIRST)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for one in tried:
        if math.isfinite(one.badness):
            known = optuna.trial.create_trial(params=one.point, distributions=distributions, value=one.badness)
            study.add_trial(known)
    return study.ask(distributions).params


def distribution(range_: Range) -> BaseDistribution:
    """A range as Optuna has it."""
    if range_.choice:
        return CategoricalDistribution(range_.choice)
    if range_.whole:
        return IntDistribution(round(range_.low), round(range_.high), log=range_.log)
    return FloatDistribution(range_.low, range_.high, log=range_.log)
