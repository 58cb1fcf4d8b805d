from itertools import pairwise

import torch

from clips import clip_for
from fields import gaussian
from roadcast.flow.path import expand
from roadcast.objectives import build_objective, mean_flow
from roadcast.objectives.base import Problem
from worlds import micro_config, random_world


def objective_over(field):
    """MeanFlow whose network is a function in closed form."""
    objective = build_objective("mean_flow", random_world(micro_config(dynamics__step_embedding=True)), {})
    objective.clean = lambda x_t, t, d, commands: field(x_t, t, d)
    return objective


def problem(objective, seed=0) -> tuple[Problem, torch.Tensor]:
    """Frames at random levels with random steps, z the mean of what they may be: the velocity towards it is the flow's own."""
    generator = torch.Generator().manual_seed(seed)
    t = 0.1 + 0.9 * torch.rand(32, 6, generator=generator, dtype=torch.float64)
    t, d = objective.lengths(t, generator)
    x_t = torch.randn(32, 6, 2, 4, 4, generator=generator, dtype=torch.float64)
    return Problem(x_t, t, t, gaussian(x_t, t, torch.zeros_like(d)), clip_for(objective.world, 1, 6)), d


def test_the_identity_holds_of_a_flow_in_closed_form(monkeypatch):
    """Of Gaussian data: the target is what the network says already, up to the difference that stands for the derivative."""
    objective = objective_over(gaussian)
    asked, d = problem(objective)
    exact, error = gaussian(asked.x_BTHWC, asked.t_BT, d), []
    for back in (1e-1, 1e-2, 1e-3):
        monkeypatch.setattr(mean_flow, "BACK", back)
        error.append(float((objective.target(asked, d) - exact).abs().mean()))
    assert error[2] < 1e-3 and all(8 < a / b < 12 for a, b in pairwise(error))
    assert (asked.z_BTHWC - exact).abs().mean() > 20 * error[2], "a flow that is straight would prove nothing"


def test_a_network_that_is_wrong_about_long_steps_is_told_so():
    objective = objective_over(lambda x_t, t, d: gaussian(x_t, t, d) + expand(d, x_t))
    asked, d = problem(objective)
    wrong = gaussian(asked.x_BTHWC, asked.t_BT, d) + expand(d, asked.x_BTHWC)
    towards = (wrong - objective.target(asked, d))[d > 0.5]
    assert towards.mean() > 0.3


def test_the_past_stays_and_no_frame_is_asked_for_above_noise():
    world = random_world(micro_config(dynamics__step_embedding=True))
    objective, calls = build_objective("mean_flow", world, {"bootstrap": 1.0}), []
    clean = objective.clean
    objective.clean = lambda *asked: calls.append(asked) or clean(*asked)
    objective.loss(clip_for(world, 4, 8), torch.Generator().manual_seed(0))
    (x, t, d, _), (x_before, t_before, d_before, _) = calls
    past = t <= 0.1
    assert (d[past] == 0).all() and past.any() and torch.equal(x[past], x_before[past])
    assert ((d > 0) & (d <= t))[~past].all() and (t_before <= t).all() and t.max() <= 1
    torch.testing.assert_close(t - d, t_before - d_before)  # where the step ends is held fixed
