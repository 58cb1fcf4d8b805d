"""Steps that are unlike those of the push are told from those that are like them."""

import math

import numpy as np
import pytest
import torch

from roadcast.data.actions import ACTIONS
from roadcast.serving.foreign import SPREADS, Trait, is_foreign, reference
from roadcast.serving.pool import ModelBackend
from roadcast.training.scenes import Scenes
from worlds import micro_config, random_actions, random_world

KNOWN = {"level": Trait(1.0, 0.1), "change": Trait(0.2, 0.05), "uncertainty": Trait(0.1, 0.01)}


@pytest.mark.parametrize(
    ("seen", "foreign"),
    [
        ({"level": 1.1, "change": 0.3, "uncertainty": 0.12}, False),
        ({"level": 1.0 + 1.1 * SPREADS * 0.1}, True),
        ({"level": 1.0 - 1.1 * SPREADS * 0.1}, True),
        ({"level": 1.0, "change": 0.0}, False),
        ({"level": 1.0, "change": 1.0}, True),
        ({"level": 1.0, "uncertainty": 0.5}, True),
        ({"level": 1.0, "uncertainty": math.nan}, False),
        ({}, False),
    ],
)
def test_what_is_far_out_is_foreign_and_what_stands_still_is_not(seen, foreign):
    assert is_foreign(seen, KNOWN) is foreign
    assert not is_foreign(seen, {})


@pytest.fixture(scope="module")
def backend():
    world = random_world(micro_config())
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 32, 64, 3), np.uint8)
    actions, known = random_actions(2, 5, len(world.actions))
    return ModelBackend(world, Scenes(["a", "b"], torch.from_numpy(frames), actions, known), 2)


def test_a_world_is_not_foreign_to_itself_and_another_one_is(backend):
    known = reference(backend, frames=24)
    assert known.keys() == {"level", "change", "uncertainty"} and all(trait.mean > 0 for trait in known.values())

    def share(backend) -> float:
        backend.begin(1, 0, seed=99)
        command = {name: -0.3 * ACTIONS[name].scale for name in backend.actions}
        shown = [backend.step({1: command})[1] for _ in range(24)]
        return float(np.mean([is_foreign(one.traits, known) for one in shown]))

    assert share(backend) <= 0.1
    for parameter in (weights := backend.world.dynamics.state_dict()).values():
        if parameter.is_floating_point() and parameter.ndim > 1:
            parameter.mul_(3.0)
    backend.world.dynamics.load_state_dict(weights)
    assert share(backend) >= 0.5
