"""Train the dynamics to see, from any point of a path, the same end of it: few passes then do for many."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.flow.path import expand
from roadcast.flow.timesteps import diffusion_forcing_levels
from roadcast.flow.world import World
from roadcast.objectives.base import Terms, register_objective
from roadcast.objectives.diffusion_forcing import DiffusionForcing, clean_frames


@register_objective("consistency")
class Consistency(DiffusionForcing):
    """`L = |f(x_t, t) - f_average(x_s, s)|^2`, s the next level down of `levels` and x_s where the teacher's step leads from x_t.

        x_s = f_teacher(x_t, t) + (s / t) (x_t - f_teacher(x_t, t))

    Consistency distillation (Song et al. 2023, eq. 8 and algorithm 2) of every frame at a level of its own, as in diffusion
    forcing, so that a causal past is in it. The teacher is the world the stage began with, frozen; the target is the moving average
    of the student. At s = 0 the target is x_s itself. The finished world is driven in `steps` passes a frame.
    """

    one_call = False
    defaults: ClassVar[dict[str, float]] = {
        "levels": 16, "steps": 4, "clean_share": 0.5, "clean_level": 0.1, "context_dropout": 0.0,
    }  # fmt: skip

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.teacher = world.dynamics.twin().requires_grad_(False).eval()
        self.target = world.dynamics.twin().requires_grad_(False).eval()
        self.average: Mapping[str, Tensor] = {}

    @property
    def frozen(self) -> Sequence[nn.Module]:
        return self.teacher, self.target

    def follow(self, average: Mapping[str, Tensor]) -> None:
        self.average = average

    def levels(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        """Levels t > 0 of the grid, [batch, frames]."""
        count, options = self.options["levels"], self.options
        t = diffusion_forcing_levels(batch, frames, generator, options["clean_share"], options["clean_level"])
        return (t * count).ceil().clamp(1, count) / count

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        problem = self.prepare(clip, generator)
        x_t, t, commands = problem.x_BTHWC, problem.t_BT, problem.commands_BTA
        config = self.world.config
        s = t - 1 / self.options["levels"]
        with torch.no_grad():
            end = clean_frames(self.teacher, x_t, t, commands, config)
            x_s = end + expand(s / t, x_t) * (x_t - end)
            if self.average:
                self.target.load_state_dict(self.average)
            target = torch.where(expand(s, x_s) > 1e-6, clean_frames(self.target, x_s, s, commands, config), x_s)
        made = clean_frames(self.trained, x_t, t, commands, config)
        terms = {"consistency": (made - target).square().mean(), "x": (made - problem.z_BTHWC).square().mean().detach()}
        return self.losses.add_to(terms["consistency"], terms, made, problem.z_BTHWC, clip), terms

    def finish(self, clips: Iterable[Clip]) -> None:
        self.world.drive_in(int(self.options["steps"]))
