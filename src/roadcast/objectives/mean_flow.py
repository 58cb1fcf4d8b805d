"""Train the dynamics on the average velocity by the identity that ties it to the one at this instant; an ablation of `shortcut`."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from roadcast.flow.path import expand
from roadcast.objectives.base import Problem, register_objective
from roadcast.objectives.shortcut import AverageVelocity, velocity


@register_objective("mean_flow")
class MeanFlow(AverageVelocity):
    """`u* = v - du/ds`, s the way that all frames go together: frame f from t_f - d_f at s = 0 to t_f at s = 1, so that

        du/ds = d v du/dx + d du/dt + d du/dd,    v = n - z

    For one frame alone du/ds = d du/dt along its path: Geng et al. 2025 (Mean Flows), eq. 6 and 8. In x-space

        t du/ds = d (v - u) - df/ds,    f* = x_t - t u* = z + d (v - u) - df/ds

    t - d is uniform in [0, t]. `bootstrap` is what Geng et al. call the ratio of r != t, 25 % being their best (table 1a).

    df/ds is exact, by forward-mode differentiation, which the fused attention kernels do not have: this pass runs on PyTorch's plain
    one. So dynamics.backend must be sdpa or reference, and blocks neither compiled nor sharded.
    """

    def lengths(self, t_BT: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return t_BT, t_BT * torch.rand(t_BT.shape, generator=generator).to(t_BT)

    def target(self, problem: Problem, d_BT: Tensor) -> Tensor:
        x_t, t, z, commands = problem.x_BTHWC, problem.t_BT, problem.z_BTHWC, problem.commands_BTA
        d, v = expand(d_BT, x_t), velocity(z, x_t, t)
        with sdpa_kernel(SDPBackend.MATH):
            clean, change = torch.func.jvp(
                lambda x_t, t, d: self.clean(x_t, t, d, commands), (x_t, t, d_BT), (d * v, d_BT, d_BT)
            )
        return z + d * (v - velocity(clean, x_t, t)) - change
