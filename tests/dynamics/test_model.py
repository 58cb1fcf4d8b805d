import torch

from roadcast.dynamics.conditioning import command_window, pad_history
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


@torch.no_grad()
def test_cached_equals_uncached():
    """Frames fed through the ring cache, in chunks of any size and past its wrap, equal one pass over the whole clip."""
    model = random_world().dynamics
    x, t, commands = inputs()
    whole = model(x, t, commands)
    for sizes in ([1] * FRAMES, [4, 1, 2, 6], [FRAMES], [9, 4]):
        history, parts, at = model.empty_history(2, 2, 4), [], 0
        for size in sizes:
            now = slice(at, at + size)
            model(torch.randn_like(x[:, now]), t[:, now], commands[:, now], history)  # a pass that must leave no trace
            parts.append(model(x[:, now], t[:, now], commands[:, now], history, write=True))
            at += size
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


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
        model(*(value[:, :6] for value in wide), history, write=True)
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
