import pytest
import torch
from torch import Tensor

from roadcast.config import StageConfig
from roadcast.data.clip import Clip
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.objectives import build_objective
from roadcast.objectives.depth import DepthConsistencyLoss, DepthLoss
from roadcast.objectives.losses import LOSSES
from roadcast.training.flops import step_flops
from worlds import micro_config, random_actions, random_world

WORLD = random_world()


@pytest.fixture(scope="module")
def drive() -> Tensor:
    """Frames float32 [1, 4, 64, 128, 3] in [-1, 1] of the built-in world."""
    world, driver = ToyWorld(3, 64, 128), Driver(3)
    frames = []
    for _ in range(4):
        for _ in range(5):
            world.step(*driver.act(world))
        frames.append(torch.from_numpy(world.render()))
    return torch.stack(frames)[None].float() / 127.5 - 1


@pytest.mark.parametrize("loss", [DepthLoss(WORLD), DepthConsistencyLoss(WORLD)])
def test_nothing_is_lost_where_what_is_made_is_true_and_gradients_reach_every_frame_elsewhere(loss, drive):
    assert loss(drive, drive, None) == 0
    made = (0.8 * drive + 0.1 * torch.randn_like(drive)).requires_grad_()
    loss(made, drive, None).backward()
    assert torch.isfinite(made.grad).all() and (made.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_depth_is_judged_up_to_a_factor_a_frame(drive, monkeypatch):
    factors = torch.tensor([1.0, 2.0, 0.5, 3.0])[:, None, None]
    depth = torch.rand(1, 4, 8, 8) + 1
    told = {id(drive): depth, 0: depth * factors, 1: depth * torch.linspace(1, 2, 8)}

    def judged(loss, other: int) -> Tensor:
        made = drive.clone()
        monkeypatch.setattr(loss, "network", lambda x: told[id(x) if x is drive else other])
        return loss(made, drive, None)

    depth_loss, depth_consistency_loss = DepthLoss(WORLD), DepthConsistencyLoss(WORLD)
    assert judged(depth_loss, 0) < 1e-6 < judged(depth_loss, 1)
    assert judged(depth_consistency_loss, 1) < 1e-6 < judged(depth_consistency_loss, 0)


def test_another_scene_costs_more_depth_than_noise_does_and_a_shuffled_drive_more_consistency(drive):
    depth_loss, depth_consistency_loss = DepthLoss(WORLD), DepthConsistencyLoss(WORLD)
    noisy, mirrored = (drive + 0.02 * torch.randn_like(drive)).clamp(-1, 1), drive.flip(3)
    assert depth_loss(noisy, drive, None) < depth_loss(mirrored, drive, None)
    assert depth_consistency_loss(noisy, drive, None) < depth_consistency_loss(drive[:, [2, 0, 3, 1]], drive, None)


@pytest.mark.parametrize("name", ["depth", "depth_consistency"])
def test_the_tokenizer_can_be_trained_with_it_by_name(name):
    assert LOSSES[name].compares == "frames"
    actions, known = random_actions(1, 3)
    numbers = torch.zeros(1, dtype=torch.int64)
    frames = torch.randint(0, 256, (1, 3, 32, 64, 3), dtype=torch.uint8)
    clip = Clip(frames, None, actions, known, torch.zeros(1, 3, dtype=torch.int64), numbers, numbers)
    world = random_world()
    loss, terms = build_objective("tokenizer", world, {}, {name: 1.0}).loss(clip, torch.Generator())
    assert terms[name] > 0
    loss.backward()


def test_arithmetic_of_a_stage_with_a_loss_of_depth_is_counted_on_tensors_without_numbers():
    stage = StageConfig("tokenizer", batch=1, losses={"depth": 1.0, "depth_consistency": 1.0})
    assert step_flops(micro_config(), stage, 2) is not None
