import torch

from clips import clip_for
from roadcast.objectives import build_objective
from worlds import random_world


def test_the_share_of_self_made_pasts_rises_from_first_step_to_last():
    objective = build_objective("self_context", random_world(), {"share_from": 0.1, "share_to": 0.6})
    shares = []
    for step in (0, 25, 50, 75, 100):
        objective.at(step, 101)
        shares.append(objective.share)
    assert shares == sorted(shares)
    torch.testing.assert_close(torch.tensor(shares)[[0, 2, 4]], torch.tensor([0.1, 0.35, 0.6]))


def test_without_a_share_it_is_diffusion_forcing_and_with_one_the_past_has_drifted_while_the_answer_is_true():
    world = random_world()
    clip = clip_for(world, 3, 9)
    plain = build_objective("diffusion_forcing", world, {}).prepare(clip, torch.Generator().manual_seed(0))
    none = build_objective("self_context", world, {"share_to": 0.0}).prepare(clip, torch.Generator().manual_seed(0))
    assert torch.equal(plain.x_BTHWC, none.x_BTHWC)
    full = build_objective("self_context", world, {"share_from": 1.0, "share_to": 1.0})
    problem = full.prepare(clip, torch.Generator().manual_seed(0))
    assert torch.equal(problem.z_BTHWC, plain.z_BTHWC) and torch.equal(problem.t_BT, plain.t_BT)
    made = full.imagined(clip, plain.z_BTHWC, torch.Generator().manual_seed(0))
    assert torch.equal(made[:, :4], plain.z_BTHWC[:, :4]) and not torch.equal(made[:, -1], plain.z_BTHWC[:, -1])
    loss, _ = full.loss(clip, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(p.grad is not None for p in world.dynamics.parameters())
