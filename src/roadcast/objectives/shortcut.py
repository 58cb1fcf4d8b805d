"""Train the dynamics to know where a long step leads: few passes then do for many, and no teacher is needed."""

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.path import add_noise, expand
from roadcast.flow.world import World
from roadcast.objectives.base import Options, Problem, Terms, register_objective
from roadcast.objectives.diffusion_forcing import DiffusionForcing, clean_frames


class AverageVelocity(DiffusionForcing):
    """`L = w(t) |f(x_t, t, d) - f*|^2`: diffusion forcing in which every frame has, beside its level t, a step length d of its own.

    `u = (x_t - f(x_t, t, d)) / t` is the average velocity on the way from t down to t - d, so that one step covers it:
    `x_{t-d} = x_t - d u`. In x-space a target u* is `f* = x_t - t u*`, and `|f - f*|^2 = t^2 |u - u*|^2`: nothing is divided by a
    small t.

    d = 0 is flow matching, `f* = z`. A share `bootstrap` of the clips has d > 0, and targets by the network itself, without gradient.
    Frames at `clean_level` or below play the past in them: a rollout's past is finished, it has d = 0 and stays as it is while the
    next frame steps (flow/rollout.py). All other frames of such a clip step at once, each by its d. The finished world is driven in
    `steps` passes a frame.
    """

    one_call = False
    defaults: ClassVar[dict[str, float]] = DiffusionForcing.defaults | {"bootstrap": 0.25, "steps": 4}

    def __init__(self, world: World, options: Options, losses: dict[str, float]):
        super().__init__(world, options, losses)
        if not world.config.dynamics.step_embedding:
            raise UserError(
                f"objective {self.name!r} tells the dynamics how long a step is, and dynamics.step_embedding = false; set it to true"
            )

    def lengths(self, t_BT: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Levels for frames drawn at `t_BT`, and how far each steps: 0 < d <= t, [batch, frames] both."""
        raise NotImplementedError

    def target(self, problem: Problem, d_BT: Tensor) -> Tensor:
        """`f*` [B, T, H, W, C] of the frames that step; without gradients."""
        raise NotImplementedError

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        problem = self.prepare(clip, generator)
        t, d = problem.t_BT.clone(), torch.zeros_like(problem.t_BT)
        some = slice(int(self.options["bootstrap"] * len(t) + torch.rand((), generator=self.chance(generator))))
        moves, (levels, lengths) = t[some] > self.options["clean_level"], self.lengths(t[some], generator)
        t[some], d[some] = torch.where(moves, levels, t[some]), torch.where(moves, lengths, 0)
        z = problem.z_BTHWC
        problem = replace(problem, t_BT=t, x_BTHWC=add_noise(z, torch.randn(z.shape, generator=generator).to(z), t))
        answer = self.trained(problem.x_BTHWC, t, problem.commands_BTA, d_BT=d)
        if some.stop:
            with torch.no_grad():
                stepped = self.target(rows(problem, some), d[some])
            target = torch.cat([torch.where(expand(moves, z), stepped, z[some]), z[some.stop :]])
            problem = replace(problem, z_BTHWC=target)
        return self.judge(problem, answer)

    def clean(self, x_t: Tensor, t_BT: Tensor, d_BT: Tensor, commands_BTA: Tensor) -> Tensor:
        """`f(x_t, t, d)`."""
        return clean_frames(self.trained, x_t, t_BT, commands_BTA, self.world.config, d_BT)

    def finish(self, clips: Iterable[Clip]) -> None:
        """The world is from now on driven in as many passes a frame as `steps` says."""
        self.world.drive_in(int(self.options["steps"]))


def rows(problem: Problem, some: slice) -> Problem:
    """A few clips' share of what the dynamics are asked, and of what would be right."""
    names = ("x_BTHWC", "t_BT", "commands_BTA", "z_BTHWC")
    return replace(problem, **{name: getattr(problem, name)[some] for name in names})


def velocity(clean: Tensor, x_t: Tensor, t_BT: Tensor) -> Tensor:
    """`(x_t - f) / t`; at t = 0, where no frame moves, some finite number."""
    return (x_t - clean) / expand(t_BT, x_t).clamp_min(1e-6)


@register_objective("shortcut")
class Shortcut(AverageVelocity):
    """A step of d is two steps of d / 2, which the network itself says (Frans et al. 2024, Shortcut Models, eq. 4 and 5):

        x' = x_t - d/2 u(x_t, t, d/2),    u* = (u(x_t, t, d/2) + u(x', t - d/2, d/2)) / 2

    In x-space and under w(t) = 1 - ramp t it is eq. 7 of Hafner et al. 2025 (Dreamer 4). As theirs, targets come from the network as it
    is: what has been learnt at d is there for 2 d at once, while a moving average (Frans et al.) would lag at every doubling.

    d is one of 1, 1/2, 1/4 ... 1/`levels`, and t a multiple of it: all that sampling in 1, 2, 4 ... `levels` passes asks for. Half of
    the shortest step is asked for as d = 0.
    """

    defaults: ClassVar[dict[str, float]] = AverageVelocity.defaults | {"levels": 64}

    def __init__(self, world: World, options: Options, losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.grid = [1.0]
        while self.grid[-1] > 1 / self.options["levels"]:
            self.grid.append(self.grid[-1] / 2)
        if self.grid[-1] * self.options["levels"] != 1:
            raise UserError(f"option levels = {self.options['levels']:g}; use a power of two, for steps are halved")

    def lengths(self, t_BT: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        d = torch.tensor(self.grid)[torch.randint(len(self.grid), t_BT.shape, generator=generator)].to(t_BT)
        return (t_BT / d).ceil() * d, d

    def target(self, problem: Problem, d_BT: Tensor) -> Tensor:
        x_t, t, commands = problem.x_BTHWC, problem.t_BT, problem.commands_BTA
        half = d_BT / 2
        asked = torch.where(half < self.grid[-1], 0, half)
        first = velocity(self.clean(x_t, t, asked, commands), x_t, t)
        x_half, t_half = x_t - expand(half, x_t) * first, t - half
        second = velocity(self.clean(x_half, t_half, asked, commands), x_half, t_half)
        return x_t - expand(t, x_t) * (first + second) / 2
