import pytest
import torch
from torch.utils import _pytree as pytree

from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.flow.world import World
from worlds import micro_config, random_actions, random_world

FRAMES = 13


def inputs(batch=2, frames=FRAMES, seed=0):
    config = micro_config()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, frames, 2, 4, 4, generator=generator)
    t = torch.rand(batch, frames, generator=generator)
    commands = command_window(
        *pad_history(*random_actions(batch, frames), config.dynamics.action_window), config.dynamics.action_window
    )
    return x, t, commands


VARIANTS = {
    "factorised": {},
    "full": {"attention": "full", "time_every": 2},
    "chunked": {"attention_chunk": 3},
    "sinks": {"sink_frames": 2},
    "full with sinks": {"attention": "full", "sink_frames": 1},
    "difference target": {"difference_target": True},
    "no differences": {"difference_input": False, "registers": 0},
    "reference": {"backend": "reference"},
    "flex": {"backend": "flex"},
}


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_equals_uncached(variant):
    """Frames fed through the ring cache, in pieces of any size and past its wrap, equal one pass over the whole clip."""
    model = random_world(
        micro_config(**{f"dynamics__{name}": value for name, value in VARIANTS[variant].items()})
    ).dynamics
    x, t, commands = inputs()
    whole = model(x, t, commands)
    pieces = ([1] * FRAMES, [4, 1, 2, 4, 2]) + (() if model.mask.sinks else ([4, 1, 2, 6], [FRAMES], [9, 4]))
    for sizes in pieces:
        history, parts, at = model.empty_history(2, 2, 4), [], 0
        for size in sizes:
            now = slice(at, at + size)
            model(torch.randn_like(x[:, now]), t[:, now], commands[:, now], history)  # a pass that must leave no trace
            parts.append(model(x[:, now], t[:, now], commands[:, now], history))
            nothing = model(x[:, now], t[:, now], commands[:, now], history, finished=size)
            assert nothing.shape[1] == 0
            at += size
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_taking_in_a_frame_and_making_the_next_in_one_pass_equals_two_passes(variant):
    model = random_world(
        micro_config(**{f"dynamics__{name}": value for name, value in VARIANTS[variant].items()})
    ).dynamics
    x, t, commands = inputs()
    one, two = model.empty_history(2, 2, 4), model.empty_history(2, 2, 4)
    for f in range(1, FRAMES):
        before, now, both = slice(f - 1, f), slice(f, f + 1), slice(f - 1, f + 1)
        fused = model(x[:, both], t[:, both], commands[:, both], one, finished=1)
        model(x[:, before], t[:, before], commands[:, before], two, finished=1)
        apart = model(x[:, now], t[:, now], commands[:, now], two)
        torch.testing.assert_close(fused, apart, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(pytree.tree_leaves(one), pytree.tree_leaves(two), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_window_sees_no_further_and_sinks_do():
    x, t, commands = inputs()
    other = x.clone()
    other[:, 0] += 1
    for sinks, seen in ((0, False), (1, True)):
        config = micro_config(dynamics__sink_frames=sinks, dynamics__difference_input=False)
        model = random_world(config).dynamics
        moved = (model(other, t, commands) - model(x, t, commands)).abs().amax(dim=(0, 2, 3, 4))
        assert (moved[-1] > 0) == seen and moved[0] > 0


@torch.no_grad()
def test_an_untrained_network_with_a_difference_target_says_that_nothing_moves():
    config = micro_config(dynamics__difference_target=True)
    model = World(config).dynamics  # its outlet is zero, as at the start of training
    x, t, commands = inputs()
    t[:, :-1] = 0
    torch.testing.assert_close(model(x, t, commands)[:, 1:], x[:, :-1])


@torch.no_grad()
def test_a_step_of_no_length_is_the_default_and_others_change_their_own_frame_and_later_ones():
    """The embedding of a new network adds nothing, whatever the length; where there is none, a length is refused."""
    world = random_world(micro_config(dynamics__step_embedding=True))
    x, t, commands = inputs()
    none, d = torch.zeros_like(t), torch.zeros_like(t)
    d[:, 6] = 0.5
    plain, told = world.dynamics(x, t, commands), world.dynamics(x, t, commands, d_BT=d)
    assert torch.equal(plain, world.dynamics(x, t, commands, d_BT=none))
    assert torch.equal(plain[:, :6], told[:, :6]) and ((plain - told)[:, 6:8].abs().amax(dim=(0, 2, 3, 4)) > 1e-3).all()
    fresh = World(world.config).dynamics.embed_step
    assert fresh[2].weight.abs().max() == 0 and fresh[2].bias.abs().max() == 0
    with pytest.raises(AssertionError, match="without step_embedding"):
        random_world().dynamics(x, t, commands, d_BT=d)


def test_causal_by_value_and_by_gradient():
    """Frame t changes with no later frame, noise level or command, and with every earlier frame in its window."""
    model = random_world().dynamics
    x, t, commands = (value.requires_grad_() for value in inputs(batch=1))
    model(x, t, commands)[:, 6].square().sum().backward()
    for value in (x, t, commands):
        gradient = value.grad.flatten(2) if value.ndim > 2 else value.grad[..., None]
        assert gradient[:, 7:].abs().max() == 0
        assert (gradient[:, 3:7].abs().amax(dim=(0, 2)) > 0).all()
    with torch.no_grad():
        late_x, late_c = x.clone(), commands.clone()
        late_x[:, 7:] += 1
        late_c[:, 7:] -= 1
        before, after = model(x, t, commands), model(late_x, t, late_c)
        assert torch.equal(before[:, :7], after[:, :7])
        assert not torch.allclose(before[:, 7:], after[:, 7:])


@torch.no_grad()
def test_one_row_at_another_frame_than_its_neighbour():
    model = random_world().dynamics
    x, t, commands = inputs(batch=1)
    together = model.empty_history(2, 2, 4)
    alone = model.empty_history(1, 2, 4)
    for history, rows in ((alone, 1), (together, 2)):
        wide = [value.expand(rows, *value.shape[1:]) for value in (x, t, commands)]
        model(*(value[:, :6] for value in wide), history, finished=6)
    together.cache.frame_B[1] = 2  # the second row forgets all but an unrelated past
    now = slice(6, 7)
    one = model(x[:, now], t[:, now], commands[:, now], alone)
    both = model(*(value[:, now].expand(2, *value[:, now].shape[1:]) for value in (x, t, commands)), together)
    torch.testing.assert_close(both[:1], one)
    assert not torch.allclose(both[1:], one)


def test_command_windows_end_with_the_frame_they_belong_to():
    actions, known = torch.arange(1.0, 7).view(1, 6, 1), torch.ones(1, 6, 1, dtype=torch.bool)
    windows = command_window(*pad_history(actions, known, 3), 3)
    assert windows.shape == (1, 6, 6)
    assert windows[0, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert windows[0, 5].tolist() == [4, 1, 5, 1, 6, 1]
    strided = command_window(*pad_history(actions, known, 3), 3, time_stride=2)
    assert strided[0].tolist() == windows[0, 1::2].tolist()
    unknown = command_window(*pad_history(actions, ~known, 3), 3)
    assert unknown.abs().max() == 0
