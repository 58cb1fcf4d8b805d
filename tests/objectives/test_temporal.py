"""The losses of time, alone and in stages that make latents."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from clips import clip_for
from roadcast.config import StageConfig
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from roadcast.objectives.temporal import FeatureConsistency, flow_warp_loss, frame_difference_loss, warp
from roadcast.training.flops import step_flops
from roadcast.training.memory import stage_memory
from worlds import micro_config, random_world

TEMPORAL = {"frame_difference": 0.1, "flow_warp": 0.2, "feature_consistency": 0.3}
STAGES = [
    ("diffusion_forcing", {}),
    ("consistency", {}),
    ("self_forcing", {"context": 4, "window": 2, "steps": 1}),
]


def seeing_config():
    """Of a world that has an encoder of features."""
    return micro_config(
        features__depth=1, features__width=32, features__heads=2, features__patch=16, features__tubelet=2
    )


def pan(pixels: int, frames: int = 4, height: int = 64, width: int = 128) -> torch.Tensor:
    """Float frames in [-1, 1] of a picture that moves right by so many pixels a frame, [1, F, H, W, 3]."""
    noise = np.random.default_rng(0).normal(size=(height, 2 * width, 3)).astype(np.float32)
    wall = torch.from_numpy(cv2.GaussianBlur(noise, (0, 0), 3))
    wall, first = wall / wall.abs().max(), width // 2
    return torch.stack([wall[:, first - pixels * f : first - pixels * f + width] for f in range(frames)])[None]


def test_frame_difference_asks_for_change_alone():
    true = torch.rand(2, 4, 8, 8, 3)
    assert frame_difference_loss(true + 0.3, true, None) < 1e-6
    t = torch.arange(4.0)[None, :, None, None, None]
    assert frame_difference_loss(true + 0.2 * t, true, None) == pytest.approx(0.2, rel=1e-4)


def test_a_video_that_moves_as_the_truth_does_warps_onto_itself_and_a_frozen_one_does_not():
    true = pan(4)
    moving, frozen = flow_warp_loss(true, true, None), flow_warp_loss(true[:, :1].expand_as(true), true, None)
    assert moving < 1e-3 and frozen > 0.1


def test_flicker_on_top_of_the_true_motion_is_as_large_as_it_is():
    true = pan(4)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0])[None, :, None, None, None]
    assert flow_warp_loss(true + 0.1 * sign, true, None) == pytest.approx(0.2, abs=0.03)


def test_where_nothing_moves_flow_warp_is_the_difference_of_frames():
    true = pan(0)
    assert flow_warp_loss(true, true, None) < 1e-6
    made = torch.rand_like(true)
    torch.testing.assert_close(flow_warp_loss(made, true, None), made.diff(dim=1).abs().mean())


def test_a_frame_is_read_where_the_flow_leads():
    frames, flow = torch.rand(1, 6, 9, 3), torch.zeros(1, 6, 9, 2)
    torch.testing.assert_close(warp(frames, flow), frames)
    flow[..., 0], flow[..., 1] = 2.0, -1.0
    torch.testing.assert_close(warp(frames, flow)[:, 1:, :-2], frames[:, :-1, 2:])
    flow[..., 0], flow[..., 1] = 0.5, 0.0
    torch.testing.assert_close(warp(frames, flow)[:, :, :-1], (frames[:, :, :-1] + frames[:, :, 1:]) / 2)


def test_flow_warp_moves_both_frames_by_the_true_gradient():
    true = pan(2, frames=2, height=16, width=32)
    made = (true + 0.1 * torch.rand_like(true)).requires_grad_()
    (slope,) = torch.autograd.grad(flow_warp_loss(made, true, None), made)
    for f, v, u in [(0, 8, 12), (0, 7, 20), (1, 8, 12), (1, 9, 15)]:
        step = torch.zeros_like(made)
        step[0, f, v, u, 1] = 1e-3
        with torch.no_grad():
            rise = flow_warp_loss(made + step, true, None) - flow_warp_loss(made - step, true, None)
        assert slope[0, f, v, u, 1] != 0
        assert slope[0, f, v, u, 1] == pytest.approx(float(rise) / 2e-3, rel=0.1, abs=1e-5)


def test_feature_consistency_is_nothing_for_the_truth_and_more_for_what_is_further_from_it():
    loss, true = FeatureConsistency(random_world(seeing_config())), pan(1, height=32, width=64)
    noise = torch.randn_like(true)
    near, far = (float(loss(true + size * noise, true, None)) for size in (0.05, 0.5))
    assert loss(true, true, None).abs() < 1e-6 < near < far <= 2


def test_feature_consistency_without_an_encoder_is_told_when_the_stage_is_built():
    with pytest.raises(UserError, match=r"features\.depth = 0; set it and train the encoder in a stage before"):
        build_objective("diffusion_forcing", random_world(), {}, {"feature_consistency": 1.0})


@pytest.mark.parametrize(("name", "options"), STAGES)
def test_a_stage_of_latents_learns_from_all_three_and_nothing_frozen_does(name, options):
    world = random_world(seeing_config())
    objective = build_objective(name, world, options, TEMPORAL)
    objective.at(0, 2)
    chance = torch.Generator()
    loss, terms = objective.loss(clip_for(world, 2, 6), chance.manual_seed(0))
    share = sum(weight * terms[name] for name, weight in TEMPORAL.items())
    assert 0 < share < loss
    share.backward(retain_graph=True)
    moved = [p for p in world.dynamics.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert len(moved) > len(list(world.dynamics.parameters())) / 2
    loss.backward()
    assert all(p.grad is None for part in (world.tokenizer, world.features) for p in part.parameters())


def test_a_stage_trains_on_temporal_losses_alone():
    world = random_world(seeing_config())
    objective = build_objective("diffusion_forcing", world, {"difference": 0.0}, TEMPORAL)
    clip, optimizer = clip_for(world, 2, 6), torch.optim.Adam(world.dynamics.parameters(), lr=2e-3)
    sums = []
    for _ in range(12):
        _, terms = objective.loss(clip, torch.Generator().manual_seed(0))
        share = torch.stack([weight * terms[name] for name, weight in TEMPORAL.items()]).sum()
        optimizer.zero_grad()
        share.backward()
        optimizer.step()
        sums.append(share.item())
    assert sums[-1] < 0.9 * sums[0]


def test_arithmetic_of_a_stage_with_temporal_losses_can_be_counted():
    assert step_flops(seeing_config(), StageConfig("diffusion_forcing", batch=1, losses=TEMPORAL), 4) is not None


@pytest.mark.slow
def test_memory_of_a_stage_with_temporal_losses_can_be_counted():
    config = seeing_config()
    stage = StageConfig("diffusion_forcing", batch=1, clip_frames=4, losses=TEMPORAL)
    assert stage_memory(config, stage).peak > stage_memory(config, replace(stage, losses={})).peak
