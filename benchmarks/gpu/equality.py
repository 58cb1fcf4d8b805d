"""What must come out alike on this device: with and without the cache, compiled, as a graph, and in any company. In float32."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from benchmarks.gpu.driving import ways
from benchmarks.gpu.machine import Machine, Row, attempt
from benchmarks.scaling_fleet import Fleet, random_world
from torch import Tensor

from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.flow.world import World
from roadcast.serving.compiled import Step

ROUNDING, FRAMES = 1e-4, 3


def equal(machine: Machine, preset: str) -> Iterator[Row]:
    """A row a check: the difference, relative to the size of what is compared, and the largest that is allowed; 0 is bit for bit."""
    torch.backends.cudnn.allow_tf32 = False
    world = random_world(machine.config(preset), machine.device, "float32")
    yield check("cached = uncached", ROUNDING, lambda: uncached_and_cached(world))

    two, other_two, alone = (Fleet(world, seeds, 1) for seeds in ([0, 1], [0, 5], [0]))
    yield check("the same seeds again = the first time", 0, lambda: (first_row(two), first_row(two)))
    yield check("beside another neighbour = beside this one", 0, lambda: (first_row(other_two), first_row(two)))
    yield check("alone = beside a neighbour", ROUNDING, lambda: (first_row(alone), first_row(two)))

    makers = ways(machine, two)
    pairs = {"eager, CUDA graph": "eager", "compiled": "eager", "compiled, CUDA graph": "compiled"}
    for how, like in pairs.items():
        if how in makers:
            allowed = ROUNDING if how == "compiled" else 0
            yield check(f"{how} = {like}", allowed, partial(run_both, two, makers[how], makers[like]))


def first_row(fleet: Fleet) -> Tensor:
    """The first world's first frames."""
    return first_frames(fleet, fleet.advance)[:, :1]


def run_both(fleet: Fleet, make: Callable[[], Step], make_other: Callable[[], Step]) -> tuple[Tensor, Tensor]:
    """The first frames of one fleet, its step made in two ways."""
    return first_frames(fleet, make()), first_frames(fleet, make_other())


def check(name: str, allowed: float, sides: Callable[[], tuple[Tensor, Tensor]]) -> Row:
    """The row of a check: `sides` computes what must be alike."""

    def work() -> Row:
        ours, theirs = sides()
        difference = ((ours - theirs).norm() / theirs.norm()).item()
        return {"difference": difference, "allowed": allowed, "holds": "yes" if difference <= allowed else "NO"}

    return attempt({"check": name}, work)


def first_frames(fleet: Fleet, step: Step) -> Tensor:
    """Of each of the first frames after a reset, its latents and what the decoder's last convolution keeps of it: [FRAMES, B, N]."""
    fleet.reset([generator.initial_seed() for generator in fleet.state.noise])
    assert fleet.drive is not None
    made = []
    for _ in range(FRAMES):
        step(fleet.drive, fleet.draft())
        kept = fleet.drive.rollout.finished_BTHWC, fleet.drive.decoder[-1]
        made.append(torch.cat([x.flatten(1) for x in kept], dim=1))
    return torch.stack(made)


def uncached_and_cached(world: World) -> tuple[Tensor, Tensor]:
    """The network's predictions [1, T, H, W, C] for clips twice as long as it remembers: all frames at once, and frame by frame."""
    config, draw = world.config, torch.Generator().manual_seed(0)
    frames, stride, window = 2 * config.dynamics.context_frames, config.tokenizer.stride, config.dynamics.action_window
    grid = world.height // stride, world.width // stride
    x_BTHWC = torch.randn(1, frames, *grid, config.tokenizer.latent_channels, generator=draw).to(world.device)
    t_BT = torch.rand(1, frames, generator=draw).to(world.device)
    actions_BFA = torch.randn(1, frames, len(world.actions), generator=draw)
    known = torch.ones_like(actions_BFA, dtype=torch.bool)
    commands_BTA = command_window(*pad_history(actions_BFA, known, window), window, 1).to(world.device)

    history = world.dynamics.empty_history(1, *grid)
    by_frame = [world.dynamics(x_BTHWC[:, :1], t_BT[:, :1], commands_BTA[:, :1], history)]
    for t in range(1, frames):
        two = slice(t - 1, t + 1)  # the frame before goes into the cache while this one is predicted
        by_frame.append(world.dynamics(x_BTHWC[:, two], t_BT[:, two], commands_BTA[:, two], history, 1))
    return torch.cat(by_frame, dim=1), world.dynamics(x_BTHWC, t_BT, commands_BTA)
