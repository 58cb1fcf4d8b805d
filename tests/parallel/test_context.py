"""What one process can show of clips on several; the rest is in tests/distributed."""

import torch

from roadcast.parallel.context import Frames, spread
from worlds import micro_config, random_world


@torch.no_grad()
def test_frames_of_one_s_own_are_told_their_steps():
    dynamics = random_world(micro_config(dynamics__step_embedding=True)).dynamics
    x, t, commands = torch.randn(2, 6, 2, 4, 4), torch.rand(2, 6), torch.randn(2, 6, 12)
    lengths = [{}, {"d_BT": t / 2}]
    whole = [dynamics(x, t, commands, **told) for told in lengths]
    spread(dynamics, Frames())
    again = [dynamics(x, t, commands, **told) for told in lengths]
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True)) and not torch.equal(*whole)
