"""Train the dynamics on the average velocity by the identity that ties it to the one at this instant; an ablation of `shortcut`."""

import torch
from torch import Tensor

from roadcast.flow.path import expand
from roadcast.objectives.base import Problem, register_objective
from roadcast.objectives.shortcut import AverageVelocity, velocity

BACK = 0.05
"""How far back along its step a frame is looked at for the derivative, of the step's length."""


@register_objective("mean_flow")
class MeanFlow(AverageVelocity):
    """`u* = v - du/ds`, s the way that all frames go together: frame f is at t_f - d_f at s = 0 and at t_f at s = 1, so that

        du/ds = d (v du/dx + du/dt + du/dd),    v = n - z

    For one frame alone it is d du/dt along its path: Geng et al. 2025 (Mean Flows), eq. 6 and 8. In x-space

        t du/ds = d (v - u) - df/ds,    f* = x_t - t u* = z + d (v - u) - df/ds

    t - d is uniform in [0, t]. `bootstrap` is what Geng et al. call the share of r != t, 25 % being their best (table 1a).

    df/ds is a difference, `(f(s = 1) - f(s = 1 - h)) / h` with h = BACK. The exact derivative is to be had (torch.func.jvp, by the plain
    attention kernel) and is worse: levels are embedded by sines of up to 1000 t, and what ripples they leave in f, too small to matter,
    come back a thousandfold (seen before by Lu & Song 2025, section 4.1). Looking back and not ahead, no frame is asked for above t = 1.
    """

    def lengths(self, t_BT: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return t_BT, t_BT * torch.rand(t_BT.shape, generator=generator).to(t_BT)

    def target(self, problem: Problem, d_BT: Tensor) -> Tensor:
        x_t, t, z, commands = problem.x_BTHWC, problem.t_BT, problem.z_BTHWC, problem.commands_BTA
        way = expand(d_BT, x_t) * velocity(z, x_t, t)
        clean = self.clean(x_t, t, d_BT, commands)
        before = self.clean(x_t - BACK * way, t - BACK * d_BT, (1 - BACK) * d_BT, commands)
        return z + way - expand(d_BT, x_t) * velocity(clean, x_t, t) - (clean - before) / BACK
