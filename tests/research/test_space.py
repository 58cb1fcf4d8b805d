"""Points of a sweep: in their range, the same every time, and better guided than not."""

import math

import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.research.space import Tried, ask, changes_of, draw, point_of
from roadcast.research.study import Range

SPACE = {
    "lr": Range(1e-4, 1e-1, log=True),
    "noise": Range(0.0, 0.5),
    "depth": Range(1, 4, whole=True),
    "prediction": Range(choice=("x", "v")),
}


def test_random_points_are_spread_as_the_ranges_say():
    points = [ask("random", SPACE, [], 0, n) for n in range(400)]
    logs = np.log10([p["lr"] for p in points])
    assert -4 <= logs.min() < -3.9 and -1.1 < logs.max() <= -1
    assert np.histogram(logs, 3, (-4, -1))[0].min() > 100
    depths = np.bincount([p["depth"] for p in points])
    assert depths[0] == 0 and len(depths) == 5 and depths[1:].min() > 70
    assert {p["prediction"] for p in points} == {"x", "v"}
    assert all(0 <= p["noise"] <= 0.5 for p in points)
    assert all(len(f"{p['noise']:g}") <= 8 and p["noise"] == float(f"{p['noise']:.4g}") for p in points)


def test_whole_numbers_on_a_logarithmic_scale_stay_in_range():
    generator = np.random.default_rng(0)
    drawn = {draw(Range(1, 8, log=True, whole=True), generator) for _ in range(300)}
    assert drawn == set(range(1, 9))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_point_depends_on_seed_number_and_what_was_tried_alone(sampler):
    if sampler == "tpe":
        pytest.importorskip("optuna")
    tried = [Tried(ask("random", SPACE, [], 1, n), float(n)) for n in range(6)]
    assert ask(sampler, SPACE, tried, 0, 3) == ask(sampler, SPACE, tried, 0, 3)
    assert ask(sampler, SPACE, tried, 0, 3) != ask(sampler, SPACE, tried, 0, 4)


def test_a_point_survives_being_written_as_assignments():
    for n in range(20):
        point = ask("random", SPACE, [], 0, n)
        assert point_of(changes_of(point), SPACE) == point


def test_tpe_goes_where_it_was_good():
    """Of a bowl in the logarithm of one setting, the later points lie nearer the bottom than random ones; failures are no guide."""
    pytest.importorskip("optuna")

    def badness(point) -> float:
        return (math.log10(point["lr"]) + 2) ** 2

    space = {"lr": SPACE["lr"], "noise": SPACE["noise"]}
    late = []
    for seed in (0, 100, 200):
        tried = [Tried({"lr": 1e-4, "noise": 0.0}, math.inf)]
        for number in range(24):
            point = ask("tpe", space, tried, seed, number)
            tried.append(Tried(point, badness(point)))
        late += [one.badness for one in tried[-8:]]
    chance = np.mean([badness(ask("random", space, [], 0, n)) for n in range(200)])
    assert np.mean(late) < 0.7 * chance


def test_a_sweep_by_tpe_without_optuna_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "roadcast.extras.optuna", raising=False)
    with pytest.raises(UserError, match=r"a sweep by TPE needs optuna .* pip install 'roadcast\[sweep\]'"):
        ask("tpe", SPACE, [], 0, 0)
