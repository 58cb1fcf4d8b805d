"""Processes that share a network's weights gather them at every call: what an objective calls must not hang on a micro-batch's chance."""

import pytest
import torch

from clips import clip_for
from roadcast.config import override
from roadcast.objectives import build_objective
from worlds import micro_config, random_world


def calls_of(objective, step: int, seed: int) -> int:
    """How often the student is called for one micro-batch of a step."""
    calls = []
    hook = objective.world.dynamics.register_forward_hook(lambda *_: calls.append(1))
    objective.at(step, 12)
    objective.loss(clip_for(objective.world, 2, 6), torch.Generator().manual_seed(seed))
    hook.remove()
    return len(calls)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("self_forcing", {"context": 3, "window": 2, "steps": 3}),
        ("self_context", {"context": 2, "share_from": 0.4, "share_to": 0.6}),
    ],
)
def test_all_micro_batches_of_a_step_call_the_student_equally_often_and_not_all_steps_do(name, options):
    objective = build_objective(name, random_world(), options)
    by_step = [{calls_of(objective, step, seed) for seed in range(3)} for step in range(6)]
    assert all(len(counts) == 1 for counts in by_step)
    assert len(set().union(*by_step)) > 1


def test_a_held_out_loss_hangs_on_its_batch_and_on_no_step():
    objective = build_objective("self_forcing", random_world(), {"context": 3, "window": 2, "steps": 3})
    clip, losses = clip_for(objective.world, 2, 6), []
    for step in range(4):
        objective.at(step, 4)
        with torch.no_grad():
            losses.append(objective.loss(clip, torch.Generator().manual_seed(0))[0])
    assert all(torch.equal(loss, losses[0]) for loss in losses)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("self_forcing", {"adversarial": 0.1}),
        ("tokenizer", {"adversarial": 0.1}),
        ("jepa", {}),
        ("contrastive", {}),
    ],
)
def test_what_an_objective_adds_begins_the_same_whatever_was_drawn_before(name, options):
    begun = []
    for elsewhere in (0, 1):
        torch.manual_seed(1)
        world = random_world(override(micro_config(), ["features.depth=1"]))
        torch.manual_seed(elsewhere)
        begun.append(build_objective(name, world, options).trained.state_dict())
    assert begun[0].keys() == begun[1].keys()
    assert all(torch.equal(begun[0][key], begun[1][key]) for key in begun[0])
