import pytest
import torch

from clips import clip_for
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives import Objective, build_objective, register_objective
from roadcast.presets import preset_config
from roadcast.training.optim import build_optimizers
from worlds import micro_config, random_world


def one_step(world: World, name: str, frames: int, batch: int = 1) -> float:
    """One whole training step of a stage at a reduced length; how far the furthest weight moved."""
    stage = world.config.train[name]
    objective = build_objective(stage.objective, world, stage.options)
    before = [p.detach().clone() for p in objective.trained.parameters()]
    [optimizer] = build_optimizers(objective.trained, stage)
    loss, _ = objective.loss(clip_for(world, batch, frames), torch.Generator().manual_seed(0))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    moved = [(a - b).abs().max() for a, b in zip(before, objective.trained.parameters(), strict=True)]
    return float(torch.stack(moved).max().detach())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    ["tiny", "small", pytest.param("base", marks=pytest.mark.slow), pytest.param("large", marks=pytest.mark.slow)],
)
def test_every_preset_runs_a_training_step(name):
    """Built at full size, both stages, two frames long."""
    world = World(preset_config(name).validate())
    for stage in ("tokenizer", "dynamics"):
        assert 0 < one_step(world, stage, frames=2) < 1


@pytest.mark.parametrize("name", ["tokenizer", "diffusion_forcing", "teacher_forcing"])
def test_the_loss_depends_on_the_generator_alone(name):
    world = random_world()
    objective = build_objective(name, world, {})
    clip = clip_for(world, 2, 6)
    losses = [float(objective.loss(clip, torch.Generator().manual_seed(seed))[0]) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_teacher_forcing_scores_the_last_frame_alone():
    """No gradient reaches the outputs of earlier frames: what they predict does not matter."""
    world = random_world()
    objective = build_objective("teacher_forcing", world, {"difference": 0.0})
    made = []
    world.dynamics.register_forward_hook(lambda module, args, output: made.append(output) or output.retain_grad())
    loss, _ = objective.loss(clip_for(world, 1, 5), torch.Generator().manual_seed(0))
    loss.backward()
    assert made[0].grad[:, :-1].abs().max() == 0 and made[0].grad[:, -1].abs().max() > 0


def test_commands_reach_the_model_and_can_be_dropped():
    world = random_world(micro_config(dynamics__action_dropout=0.0))
    objective = build_objective("diffusion_forcing", world, {})
    clip, chance = clip_for(world, 2, 6), torch.Generator()
    full = float(objective.loss(clip, chance.manual_seed(0))[0])
    clip.actions_BFA = -clip.actions_BFA
    other = float(objective.loss(clip, chance.manual_seed(0))[0])
    world.config.dynamics.action_dropout = 1.0
    dropped = [float(objective.loss(clip, chance.manual_seed(0))[0])]
    clip.actions_BFA = -clip.actions_BFA
    dropped.append(float(objective.loss(clip, chance.manual_seed(0))[0]))
    assert full != other and dropped[0] == dropped[1]


def test_a_new_objective_is_found_by_name():
    @register_objective("test_only")
    class Nothing(Objective):
        reads = "latents"

    assert isinstance(build_objective("test_only", random_world(), {}), Nothing)
    with pytest.raises(
        UserError, match=r"objective 'nowhere' is unknown; choose one of .*diffusion_forcing, .*tokenizer"
    ):
        build_objective("nowhere", random_world(), {})
