import pytest
import torch

from clips import clip_for
from roadcast.objectives import build_objective
from roadcast.objectives.diffusion_forcing import clean_frames, commands_of
from worlds import random_world


def objective_of(world, **options):
    return build_objective("self_forcing", world, {"context": 3, "window": 4, "steps": 2} | options)


def gradient(module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def test_gradients_reach_the_student_through_its_own_rollout_and_never_the_teacher():
    objective = objective_of(random_world(), regression=0.0)
    with torch.no_grad():
        for parameter in objective.roles["critic"].parameters():
            parameter.mul_(1.1)  # as it was, critic and teacher would agree
    objective.at(0, 10)
    _, terms = objective.loss(clip_for(objective.world, 2, 8), torch.Generator().manual_seed(0))
    terms["matching"].backward(retain_graph=True)
    assert gradient(objective.student) > 0 and gradient(objective.roles["critic"]) == 0
    objective.trained.zero_grad()
    terms["critic"].backward()
    assert gradient(objective.roles["critic"]) > 0 and gradient(objective.student) == 0
    assert not any(p.requires_grad for p in objective.teacher.parameters())


def test_a_teacher_that_learns_learns_the_true_continuations_as_the_critic_does_what_was_made():
    objective = objective_of(random_world(), teacher_learns=1, regression=0.0)
    teacher, critic = objective.roles["teacher"], objective.roles["critic"]
    assert objective.teacher is teacher and not objective.frozen
    clip, true = clip_for(objective.world, 2, 7), torch.randn(2, 7, 2, 4, 4)
    commands = commands_of(clip, clip.known_BFA, objective.world.config)
    alike = [
        objective.denoising(n, true, commands, 3, torch.Generator().manual_seed(0)).item() for n in (teacher, critic)
    ]
    assert alike[0] == alike[1]
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(1.1)
    _, terms = objective.loss(clip, torch.Generator().manual_seed(0))
    terms["matching"].backward(retain_graph=True)
    assert gradient(objective.student) > 0 and gradient(teacher) == gradient(critic) == 0
    objective.trained.zero_grad()
    terms["teacher"].backward()
    assert gradient(teacher) > 0 and gradient(critic) == gradient(objective.student) == 0


@pytest.mark.parametrize(("recovery", "clips"), [(0.0, range(1)), (0.5, range(20, 45)), (1.0, range(64, 65))])
def test_in_a_share_of_the_clips_the_teacher_learns_the_truth_after_the_student_s_own_past(recovery, clips):
    objective = objective_of(random_world(), teacher_learns=1, recovery=recovery)
    made, true = torch.zeros(64, 7, 1, 1, 1), torch.ones(64, 7, 1, 1, 1)
    seen = objective.truth(made, true, 3, torch.Generator().manual_seed(0))
    own = (seen[:, :3] == 0).flatten(1).all(dim=1)
    assert int(own.sum()) in clips
    assert torch.equal(seen[~own], true[~own]) and torch.equal(seen[:, 3:], true[:, 3:])


def test_the_student_moves_in_one_of_so_many_steps_and_the_critic_in_all():
    objective = objective_of(random_world(), critic_steps=3)
    moved = []
    for step in range(6):
        objective.at(step, 6)
        objective.trained.zero_grad()
        loss, _ = objective.loss(clip_for(objective.world, 1, 7), torch.Generator().manual_seed(0))
        loss.backward()
        assert gradient(objective.roles["critic"]) > 0
        moved.append(gradient(objective.student) > 0)
    assert moved == [True, False, False, True, False, False]


def test_the_training_rollout_makes_the_frames_that_are_served():
    world = random_world()
    objective = objective_of(world, steps=1, context=4)
    clip = clip_for(world, 2, 9)
    z = world.tokenizer.encode(clip.frames_BFHWC)
    made = objective.imagine(clip, z, 4, 0, torch.Generator().manual_seed(3))
    seeds = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(3)).tolist()
    rollout = world.rollout(1)
    with torch.no_grad():
        state = rollout.start(z[:, :4], clip.actions_BFA[:, :4], clip.known_BFA[:, :4], seeds)
        served = [rollout.step(state, clip.actions_BFA[:, f, None], clip.known_BFA[:, f, None]) for f in range(4, 9)]
    assert torch.equal(made[:, 4:], torch.cat(served, dim=1))


@pytest.mark.parametrize(("exit", "passes"), [("random", {0, 1, 2}), ("last", {2}), ("all", {None})])
def test_frames_are_left_at_any_pass_or_at_the_last_and_all_may_have_gradients(exit, passes):
    objective, left = objective_of(random_world(), steps=3, exit=exit), set()
    imagine = objective.imagine

    def noted(clip, z_true, context, exit, generator):
        left.add(exit)
        return imagine(clip, z_true, context, exit, generator)

    objective.imagine = noted
    clip = clip_for(objective.world, 1, 7)
    with torch.no_grad():
        for seed in range(20):
            objective.loss(clip, torch.Generator().manual_seed(seed))
    assert left == passes


@pytest.mark.parametrize(("exit", "passes"), [("random", 1), ("last", 1), ("all", 2)])
def test_of_a_long_rollout_only_the_window_keeps_a_graph(exit, passes):
    world = random_world()
    objective = objective_of(world, matching=0.0, exit=exit)
    clip = clip_for(world, 1, 12)
    calls = []
    world.dynamics.register_forward_hook(lambda module, args, output: calls.append(output.requires_grad))
    loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
    assert sum(calls) == 4 * passes
    loss.backward()
    assert gradient(world.dynamics) > 0


def test_matching_moves_what_was_made_from_the_critic_s_view_to_the_teacher_s():
    objective = objective_of(random_world())
    with torch.no_grad():
        for parameter in objective.roles["critic"].parameters():
            parameter.mul_(1.3)
    clip = clip_for(objective.world, 2, 7)
    z = torch.randn(2, 7, 2, 4, 4, requires_grad=True)
    commands = commands_of(clip, clip.known_BFA, objective.world.config)
    objective.matching(z, commands, 3, torch.Generator().manual_seed(5)).backward()
    x_t, t = objective.noised(z.detach(), 3, torch.Generator().manual_seed(5))
    with torch.no_grad():
        real, fake = (
            clean_frames(n, x_t, t, commands, objective.world.config)
            for n in (objective.teacher, objective.roles["critic"])
        )
    assert z.grad[:, :3].abs().max() == 0
    cosine = torch.nn.functional.cosine_similarity(z.grad[0, 3:].flatten(), (fake - real)[0, 3:].flatten(), dim=0)
    assert cosine > 0.999


def test_a_finished_stage_leaves_a_world_of_as_many_passes():
    world = random_world()
    config, before = world.config, world.config.flow.steps
    objective_of(world, steps=1).finish([])
    assert (world.config.flow.steps, config.flow.steps) == (1, before)


@pytest.mark.parametrize("learns", [0, 1])
def test_score_identity_asks_nothing_where_critic_and_teacher_agree_and_never_moves_the_critic(learns):
    objective = objective_of(random_world(), matching=0.0, identity=1.0, regression=0.0, teacher_learns=learns)
    clip, critic = clip_for(objective.world, 2, 8), objective.roles["critic"]
    _, terms = objective.loss(clip, torch.Generator().manual_seed(0))
    assert terms["identity"] == 0
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(1.1)
    _, terms = objective.loss(clip, torch.Generator().manual_seed(0))
    terms["identity"].backward()
    assert gradient(objective.student) > 0 and gradient(critic) == gradient(objective.teacher) == 0
    assert all(p.requires_grad for p in objective.trained.parameters())
    assert all(p.requires_grad == bool(learns) for p in objective.teacher.parameters())


def test_student_and_discriminator_learn_from_each_other_and_neither_moves_the_other():
    objective = objective_of(random_world(), matching=0.0, adversarial=0.1, regression=0.0)
    discriminator = objective.roles["discriminator"]
    _, terms = objective.loss(clip_for(objective.world, 2, 8), torch.Generator().manual_seed(0))
    terms["adversarial"].backward(retain_graph=True)
    assert gradient(objective.student) > 0 and gradient(discriminator) == 0
    objective.trained.zero_grad()
    terms["discriminator"].backward()
    assert gradient(discriminator) > 0 and gradient(objective.student) == 0


def test_the_critic_learns_alone_at_first():
    objective = objective_of(random_world(), critic_first=2, critic_steps=3)
    turns = []
    for step in range(8):
        objective.at(step, 8)
        turns.append(objective.moves)
    assert turns == [False, False, True, False, False, True, False, False]


def test_the_teacher_is_the_world_that_the_run_began_with(tmp_path):
    many, few = random_world(seed=1), random_world(seed=2)
    many.save(tmp_path)
    few.config.start = str(tmp_path)
    objective = objective_of(few)
    for role in (objective.teacher, objective.roles["critic"]):
        for ours, theirs in zip(role.parameters(), many.dynamics.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert objective.student is few.dynamics
