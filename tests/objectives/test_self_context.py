import pytest
import torch

from clips import clip_for
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from worlds import random_world


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_share_of_self_made_pasts_is_by_the_schedule_and_a_term_of_every_step():
    world = random_world()
    clip = clip_for(world, 2, 6)
    for schedule, expected in (("linear", 0.2), ("cosine", 0.1 + 0.5 * (1 - 0.5**0.5) / 2), ("drift", 0.1)):
        objective = build_objective("self_context", world, {"schedule": schedule, "share_from": 0.1, "share_to": 0.6})
        objective.at(25, 126 if schedule == "linear" else 101)
        _, terms = objective.loss(clip, chance())
        assert float(terms["share"]) == pytest.approx(expected) and "drift" not in terms


def test_without_a_share_it_is_diffusion_forcing_and_with_one_the_past_has_drifted_while_the_answer_is_true():
    world = random_world()
    clip = clip_for(world, 3, 9)
    plain = build_objective("diffusion_forcing", world, {}).prepare(clip, chance())
    none = build_objective("self_context", world, {"share_to": 0.0}).prepare(clip, chance())
    assert torch.equal(plain.x_BTHWC, none.x_BTHWC)
    full = build_objective("self_context", world, {"share_from": 1.0, "share_to": 1.0})
    problem = full.prepare(clip, chance())
    assert torch.equal(problem.z_BTHWC, plain.z_BTHWC) and torch.equal(problem.t_BT, plain.t_BT)
    made = full.imagined(clip, plain.z_BTHWC, chance(), chance())
    assert torch.equal(made[:, :4], plain.z_BTHWC[:, :4]) and not torch.equal(made[:, -1], plain.z_BTHWC[:, -1])
    loss, _ = full.loss(clip, chance())
    loss.backward()
    assert all(p.grad is not None for p in world.dynamics.parameters())


def test_a_past_that_comes_with_the_clip_is_taken_and_nothing_imagined():
    world = random_world()
    clip = clip_for(world, 3, 6)
    always_clean = {"share_from": 1.0, "share_to": 1.0, "clean_share": 1.0, "clean_level": 0.0}
    objective = build_objective("self_context", world, always_clean)
    true = world.tokenizer.encode(clip.frames_BFHWC)
    clip.drifted_BTHWC = true + 1
    world.rollout = None  # which would be an error to call
    problem = objective.prepare(clip, chance())
    clean = problem.t_BT == 0
    assert clean.any() and torch.equal(problem.x_BTHWC[clean], (true + 1)[clean])
    assert torch.equal(problem.z_BTHWC, true)


def test_the_micro_batches_of_a_step_call_the_network_equally_often_and_those_of_others_do_not():
    world = random_world()
    clip, calls, counts = clip_for(world, 1, 9), [], []
    objective = build_objective("self_context", world, {"share_from": 0.5, "share_to": 0.5, "steps": 1})
    world.dynamics.register_forward_hook(lambda *_: calls.append(1))
    for step in range(6):
        objective.at(step, 6)
        for seed in (0, 1):
            calls.clear()
            objective.prepare(clip, torch.Generator().manual_seed(seed))
            counts.append(len(calls))
    assert counts[::2] == counts[1::2] and len(set(counts)) > 2 and 0 in counts


def test_drift_is_the_error_of_the_last_quarter_of_its_own_rollout_over_that_of_standing_still():
    world = random_world()
    clip = clip_for(world, 2, 12)
    objective = build_objective("self_context", world, {"context": 4, "steps": 2})
    with torch.no_grad():
        _, terms = objective.loss(clip, chance())
    z = world.tokenizer.encode(clip.frames_BFHWC).detach()
    future = world.rollout(2).unroll(z[:, :4], clip.actions_BFA, clip.known_BFA, [0, 1])
    made = torch.cat(list(future), dim=1).detach()
    expected = (made[:, -2:] - z[:, -2:]).square().mean() / (z[:, 3:4] - z[:, -2:]).square().mean()
    torch.testing.assert_close(terms["drift"], expected)
    assert "share" not in terms


def test_what_held_out_clips_are_asked_does_not_depend_on_how_far_the_schedule_is():
    world = random_world()
    clip = clip_for(world, 2, 6)
    objective = build_objective("self_context", world, {"schedule": "linear", "share_to": 1.0})
    with torch.no_grad():
        losses = [objective.at(step, 10) or float(objective.loss(clip, chance())[0]) for step in (0, 9)]
    assert losses[0] == losses[1]


def test_the_schedule_by_drift_hears_of_held_out_drift_and_asks_for_held_out_clips():
    objective = build_objective("self_context", random_world(), {"schedule": "drift", "rise": 0.25})
    objective.judged({"val_loss": 1.0, "val_drift": 0.5})
    assert objective.share.value == 0.25 and objective.state() == {"raised": 1, "best": 0.5}
    with pytest.raises(UserError, match=r"schedule = 'drift' goes by held-out clips.*use cosine or linear"):
        objective.judged({})
    build_objective("self_context", random_world(), {"schedule": "linear"}).judged({})


@pytest.mark.parametrize(
    ("options", "said"),
    [({"schedule": "sine"}, "option schedule = 'sine' of objective 'self_context'; use one of cosine, linear, drift"),
     ({"schedule": 1.0}, "use one of cosine, linear, drift"), ({"ramp": "cosine"}, "option ramp = 'cosine' of .* is no number"),
     ({"curve": "drift"}, "no option 'curve'; it has .*context_dropout.*schedule"),
     ({"stored": 4}, "stored = 4 leaves nothing to imagine after 4 true frames")],
)  # fmt: skip
def test_options_that_cannot_be_are_named(options, said):
    with pytest.raises(UserError, match=said):
        build_objective("self_context", random_world(), options)


def test_clips_too_short_to_imagine_in_are_refused():
    world = random_world()
    objective = build_objective("self_context", world, {"share_from": 1.0, "share_to": 1.0})
    with pytest.raises(UserError, match=r"clips of 4 latents leave nothing to imagine after 4 .*clip_frames"):
        objective.loss(clip_for(world, 1, 4), chance())
