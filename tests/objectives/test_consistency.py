import torch

from clips import clip_for
from roadcast.objectives import build_objective
from worlds import random_world


def test_the_target_follows_the_average_and_neither_it_nor_the_teacher_learns():
    world = random_world()
    objective = build_objective("consistency", world, {})
    clip = clip_for(world, 2, 6)
    first = float(objective.loss(clip, torch.Generator().manual_seed(0))[0].detach())
    objective.follow({name: 1.2 * value for name, value in world.dynamics.state_dict().items()})
    loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
    loss.backward()
    assert float(loss.detach()) != first
    assert all(p.grad is None for part in (objective.teacher, objective.target) for p in part.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in world.dynamics.parameters())


def test_levels_lie_on_the_grid_and_the_lowest_has_the_teacher_s_own_end_for_a_target():
    world = random_world()
    objective = build_objective("consistency", world, {"levels": 4})
    t = objective.levels(64, 8, torch.Generator().manual_seed(0))
    assert set((4 * t).unique().tolist()) == {1.0, 2.0, 3.0, 4.0}
    one = build_objective("consistency", world, {"levels": 1})
    _, terms = one.loss(clip_for(world, 2, 6), torch.Generator().manual_seed(0))
    assert (
        float(terms["consistency"].detach()) < 1e-9
    )  # one step of the teacher from noise to its end, by the teacher's own weights
