import pytest
import torch

from clips import clip_for
from fields import gaussian
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from roadcast.objectives.base import Problem
from worlds import micro_config, random_world

ALL = {"bootstrap": 1.0}


def told_world():
    """A world whose dynamics are told how long a step is."""
    return random_world(micro_config(dynamics__step_embedding=True))


def asked(objective, clip, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels and step lengths that the network is asked for with gradients, [B, T] both."""
    calls = []
    hook = objective.trained.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args[1], kwargs["d_BT"])), with_kwargs=True
    )
    objective.loss(clip, torch.Generator().manual_seed(seed))
    hook.remove()
    return calls[0]


def test_a_network_that_knows_the_flow_is_its_own_target():
    """Of Gaussian data the flow is known: two half steps along it land where the whole step does, from every level."""
    objective = build_objective("shortcut", told_world(), {"levels": 8})
    generator = torch.Generator().manual_seed(0)
    t, d = objective.lengths(torch.rand(64, 6, generator=generator, dtype=torch.float64).clamp_min(0.1), generator)
    x_t = torch.randn(64, 6, 2, 4, 4, generator=generator, dtype=torch.float64)
    objective.clean = lambda x_t, t, d, commands: gaussian(x_t, t, d)
    problem = Problem(x_t, t, t, x_t, clip_for(objective.world, 1, 6))
    known = d > 1 / 8  # halves of the shortest step are asked for as d = 0, and meanwhile the flow turns a little
    target, exact = objective.target(problem, d), gaussian(x_t, t, d)
    torch.testing.assert_close(target[known], exact[known])
    assert 0 < (target - exact)[~known].abs().mean() < 0.05
    instant = gaussian(x_t, t, torch.zeros_like(d))
    assert (instant - exact)[d == 1].abs().mean() > 0.1, "a flow that is straight would prove nothing"


def test_steps_are_those_of_a_sampler_and_the_past_stays():
    world = told_world()
    options = {"bootstrap": 0.5, "levels": 8}
    t, d = asked(build_objective("shortcut", world, options), clip_for(world, 8, 12))
    past = t <= 0.1
    assert (d[4:] == 0).all() and (d[:4][past[:4]] == 0).all() and past[:4].any()
    steps, levels = d[:4][~past[:4]], t[:4][~past[:4]]
    assert set(steps.tolist()) == {1.0, 0.5, 0.25, 0.125}
    assert torch.equal(levels / steps, (levels / steps).round()) and (levels >= steps).all() and levels.max() == 1
    assert (build_objective("shortcut", world, options).lengths(torch.ones(99), torch.Generator())[0] == 1).all()


def test_in_the_target_the_past_is_where_it_was_and_the_next_frame_is_half_way():
    world = told_world()
    objective, calls = build_objective("shortcut", world, ALL), []
    clean = objective.clean
    objective.clean = lambda *asked: calls.append(asked) or clean(*asked)
    objective.loss(clip_for(world, 4, 8), torch.Generator().manual_seed(0))
    (x, t, d, _), (x_half, t_half, d_half, _) = calls
    past = t <= 0.1
    assert torch.equal(d, d_half) and (d[past] == 0).all() and past.any() and not past.all()
    assert torch.equal(x[past], x_half[past]) and torch.equal(t[past], t_half[past])
    assert (t_half < t)[~past].all() and (x_half != x)[~past].any(dim=-1).all()


def test_no_share_of_steps_is_diffusion_forcing():
    """The same problems, and all that bears on steps is left alone."""
    world = told_world()
    t, d = asked(build_objective("shortcut", world, {"bootstrap": 0.0}), clip_for(world, 4, 6))
    plain = build_objective("diffusion_forcing", world, {})
    assert torch.equal(t, plain.prepare(clip_for(world, 4, 6), torch.Generator().manual_seed(0)).t_BT)
    assert (d == 0).all()


@pytest.mark.parametrize("name", ["shortcut", "mean_flow"])
def test_the_loss_falls_and_the_finished_world_takes_the_steps_it_learnt(name):
    torch.manual_seed(0)
    world = told_world()
    clip = clip_for(world, 4, 6)
    clip.z_BTHWC = torch.randn(4, 1, 2, 4, 4).expand(-1, 6, -1, -1, -1)  # a world in which nothing moves
    objective = build_objective(name, world, {"bootstrap": 0.5, "steps": 2})
    optimizer = torch.optim.Adam(world.dynamics.parameters(), 3e-3)
    losses = []
    for step in range(30):
        loss, _ = objective.loss(clip, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(world.dynamics.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert world.dynamics.embed_step[2].weight.grad.abs().sum() > 0
    objective.finish([])
    assert world.config.flow.steps == 2 and len(world.rollout().sample.levels) == 3


def test_targets_send_no_gradient():
    """The gradient is that of the answer alone, against targets held fixed."""
    world = told_world()
    objective, clip = build_objective("shortcut", world, ALL), clip_for(world, 2, 6)
    made, target = [], objective.target
    objective.target = lambda *asked: made.append(target(*asked)) or made[-1]
    loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
    assert not made[0].requires_grad
    found = torch.autograd.grad(loss, list(world.dynamics.parameters()))
    objective.target = lambda *asked: made[0]
    loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
    held = torch.autograd.grad(loss, list(world.dynamics.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, held, strict=True))


@pytest.mark.parametrize("name", ["shortcut", "mean_flow"])
def test_a_world_that_cannot_be_told_is_refused(name):
    with pytest.raises(UserError, match=r"dynamics.step_embedding = false; set it to true"):
        build_objective(name, random_world(), {})


def test_levels_that_no_halving_reaches_are_refused():
    with pytest.raises(UserError, match="option levels = 12; use a power of two"):
        build_objective("shortcut", told_world(), {"levels": 12})
