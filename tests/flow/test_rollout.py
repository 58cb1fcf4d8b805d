import torch

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
def test_cached_rollout_equals_the_uncached_forward_pass():
    """One step on the ring cache equals the same denoising done by passes over the whole clip, past the ring's wrap."""
    world = random_world(micro_config(flow__context_noise=0.0))
    rollout, state, z, actions, known = begin(world, [3])
    from roadcast.dynamics.conditioning import command_window, pad_history

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
            x = world.dynamics(torch.cat([past, x_t], dim=1), levels, commands)[:, -1:]
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
        cache = state.history.cache
        return sum(x.numel() for x in (cache.k_UBPNSK, cache.v_UBPNSK, state.history.newest_BHWC, state.actions_BFA))

    before = size()
    for _ in range(50):
        rollout.step(state, actions[:, :1], known[:, :1])
    assert size() == before
    assert rollout.step(state, actions[:, :3], known[:, :3]).shape == (1, 3, 2, 4, 4)
    assert size() == before
    assert state.history.cache.frame_B.item() == CONTEXT + 53
