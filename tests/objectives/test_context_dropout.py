import pytest
import torch

from clips import clip_for
from roadcast.flow.timesteps import drop_context
from roadcast.objectives import build_objective
from worlds import random_world


def test_a_share_of_the_frames_before_the_last_is_dropped_and_the_others_keep_their_level():
    t = torch.rand(500, 9) * 0.9
    dropped = drop_context(t, 0.3, torch.Generator().manual_seed(0))
    gone = dropped == 1
    assert float(gone[:, :-1].float().mean()) == pytest.approx(0.3, abs=0.02) and not gone[:, -1].any()
    assert torch.equal(dropped[~gone], t[~gone])


@pytest.mark.parametrize("name", ["diffusion_forcing", "teacher_forcing", "consistency", "self_context"])
def test_nothing_is_known_of_a_dropped_frame_and_without_drop_out_nothing_changes(name):
    world = random_world()
    clip = clip_for(world, 2, 6)
    plain, none, all_ = (
        build_objective(name, world, options).prepare(clip, torch.Generator().manual_seed(0))
        for options in ({}, {"context_dropout": 0.0}, {"context_dropout": 1.0})
    )
    assert torch.equal(plain.x_BTHWC, none.x_BTHWC) and (plain.t_BT[:, :-1] < 1).any()
    assert (all_.t_BT[:, :-1] == 1).all() and torch.equal(all_.t_BT[:, -1], plain.t_BT[:, -1])
    clip.frames_BFHWC = torch.zeros_like(clip.frames_BFHWC)
    other = build_objective(name, world, {"context_dropout": 1.0}).prepare(clip, torch.Generator().manual_seed(0))
    assert torch.equal(all_.x_BTHWC[:, :-1], other.x_BTHWC[:, :-1])
