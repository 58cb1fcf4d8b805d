import pytest
import torch
from torch.utils import _pytree as pytree

from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.flow.path import step_towards
from roadcast.flow.world import World
from worlds import micro_config, random_actions, random_world

CONTEXT = 6


@torch.no_grad()
def begin(world: World, seeds: list[int], steps: int = 2):
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(1, CONTEXT, 2, 4, 4, generator=generator).expand(len(seeds), -1, -1, -1, -1)
    actions, known = (value.expand(len(seeds), -1, -1) for value in random_actions(1, CONTEXT + 20))
    rollout = world.rollout(steps)
    state = rollout.start(z, actions[:, :CONTEXT], known[:, :CONTEXT], seeds)
    return rollout, state, z, actions, known


@torch.no_grad()
@pytest.mark.parametrize("told", [False, True])
def test_cached_rollout_equals_the_uncached_forward_pass(told):
    """One step on the ring cache equals the same denoising done by passes over the whole clip, past the ring's wrap.

    Dynamics that are told how far a frame steps are told so of the new frame alone.
    """
    world = random_world(micro_config(flow__context_noise=0.0, dynamics__step_embedding=told))
    rollout, state, z, actions, known = begin(world, [3])
    past = z
    for n in range(5):
        f = CONTEXT + n
        noise_state = state.clone()
        made = rollout.step(state, actions[:, f : f + 1], known[:, f : f + 1])
        x_t = torch.randn(1, 1, 2, 4, 4, generator=noise_state.noise[0]).view(1, 1, 2, 4, 4)
        commands = command_window(*pad_history(actions[:, : f + 1], known[:, : f + 1], 3), 3)
        for t, t_next in ((1.0, 0.5), (0.5, 0.0)):
            levels = torch.zeros(1, f + 1)
            levels[:, -1] = t
            lengths = torch.zeros(1, f + 1)
            lengths[:, -1] = t - t_next
            told_of = {"d_BT": lengths} if told else {}
            x = world.dynamics(torch.cat([past, x_t], dim=1), levels, commands, **told_of)[:, -1:]
            x_t = step_towards(x, x_t, t, t_next)
        torch.testing.assert_close(made, x_t, rtol=1e-4, atol=1e-4)
        past = torch.cat([past, made], dim=1)


@torch.no_grad()
def test_same_seed_same_frames_and_other_seed_other_frames():
    world = random_world()

    def run(seeds):
        rollout, state, _, actions, known = begin(world, seeds)
        return torch.cat(
            [rollout.step(state, actions[:, f : f + 1], known[:, f : f + 1]) for f in range(CONTEXT, CONTEXT + 6)],
            dim=1,
        )

    assert torch.equal(run([7]), run([7]))
    assert not torch.allclose(run([7]), run([8]), atol=1e-2)
    torch.testing.assert_close(run([8, 7])[1:], run([7]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_branch_goes_on_as_the_world_it_left():
    world = random_world()
    rollout, state, _, actions, known = begin(world, [1])
    rollout.step(state, actions[:, :1], known[:, :1])
    twin = state.clone()
    ours = [rollout.step(state, actions[:, i : i + 1], known[:, i : i + 1]) for i in range(3)]
    other = rollout.step(twin.clone(), actions[:, :1] + 1, torch.ones_like(known[:, :1]))
    theirs = [rollout.step(twin, actions[:, i : i + 1], known[:, i : i + 1]) for i in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.equal(other, ours[0])


@torch.no_grad()
def test_memory_is_fixed_and_chunks_are_one_shape():
    rollout, state, _, actions, known = begin(random_world(), [1])

    def size():
        return (
            sum(x.numel() for x in pytree.tree_leaves(state.past) if isinstance(x, torch.Tensor))
            + state.actions_BFA.numel()
        )

    before = size()
    for _ in range(50):
        rollout.step(state, actions[:, :1], known[:, :1])
    assert size() == before
    assert rollout.step(state, actions[:, :3], known[:, :3]).shape == (1, 3, 2, 4, 4)
    rollout.step(state, actions[:, :1], known[:, :1])
    assert size() == before
    assert state.past.history.cache.frame_B.item() == CONTEXT + 53


@torch.no_grad()
@pytest.mark.parametrize("frames", [500, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_long_rollout_does_not_grow_and_its_positions_go_on_meaning_the_same(frames):
    """After thousands of frames every tensor is where it was at first, and the same cached frames mean the same, bit for bit,
    whatever number the frame to be made has."""
    world = random_world(micro_config(flow__context_noise=0.0, dynamics__depth=1, dynamics__time_every=1))
    rollout, state, _, actions, known = begin(world, [1], steps=1)
    places = [x.data_ptr() for x in pytree.tree_leaves(state.past.history) if isinstance(x, torch.Tensor)]
    for f in range(frames):
        now = slice(f % 20, f % 20 + 1)
        rollout.step(state, actions[:, now], known[:, now])
    assert [x.data_ptr() for x in pytree.tree_leaves(state.past.history) if isinstance(x, torch.Tensor)] == places
    late = state.clone()
    late.past.history.cache.frame_B += (
        4 * 1000_000_000
    )  # a multiple of the ring: the same slots, two hundred days of driving later
    soon, later = (rollout.step(s, actions[:, :1], known[:, :1]) for s in (state, late))
    assert torch.equal(soon, later)


@torch.no_grad()
def test_a_context_longer_than_the_window_is_taken_in_by_pieces():
    world = random_world(micro_config(flow__context_noise=0.0))
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(1, 23, 2, 4, 4, generator=generator)
    actions, known = random_actions(1, 24)
    rollout = world.rollout(1)
    state = rollout.start(z, actions[:, :23], known[:, :23], [0])
    draft = rollout.draft(state.clone(), actions[:, 23:], known[:, 23:])
    made = rollout.step(state, actions[:, 23:], known[:, 23:])
    commands = command_window(*pad_history(actions, known, 3), 3)
    levels = torch.cat([torch.zeros(1, 23), torch.ones(1, 1)], dim=1)
    whole = world.dynamics(torch.cat([z, draft.noise_BTHWC], dim=1), levels, commands)[:, -1:]
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.int8, 0.03)])
def test_a_cache_kept_small_changes_the_frames_a_little(dtype, tolerance):
    world = random_world(micro_config(flow__context_noise=0.0))
    rollout, state, z, actions, known = begin(world, [1])
    small = rollout.start(z, actions[:, :CONTEXT], known[:, :CONTEXT], [1], cache_dtype=dtype)
    assert small.past.history.cache.kv_U2BPMSK.dtype == dtype
    exact, near = (rollout.step(s, actions[:, :1], known[:, :1]) for s in (state, small))
    error = ((near - exact).square().mean() / exact.square().mean()).sqrt()
    assert 0 < error < tolerance
