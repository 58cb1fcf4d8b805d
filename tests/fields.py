"""A flow that is known in closed form: what a network would say that had learnt Gaussian data perfectly."""

import torch
from torch import Tensor

from roadcast.flow.path import expand

MEAN, DEVIATION = 0.7, 0.3


def gaussian(x_t: Tensor, t_BT: Tensor, d_BT: Tensor) -> Tensor:
    """`x_t - t u`, u the average velocity from t to t - d of the flow between N(0, 1) and N(MEAN, DEVIATION^2), each number by itself.

    x_t is N((1 - t) m, s_t^2) with s_t^2 = ((1 - t) DEVIATION)^2 + t^2, and the flow keeps (x_t - (1 - t) m) / s_t. At d = 0 it is
    the mean of the clean x given x_t.
    """
    t, d = expand(t_BT, x_t), expand(d_BT, x_t)

    def spread(t: Tensor) -> Tensor:
        return (((1 - t) * DEVIATION).square() + t.square()).sqrt()

    off = x_t - (1 - t) * MEAN
    there = (1 - t + d) * MEAN + spread(t - d) / spread(t) * off
    instant = -MEAN + (t - (1 - t) * DEVIATION**2) / spread(t).square() * off
    return x_t - t * torch.where(d > 0, (x_t - there) / d.clamp_min(1e-12), instant)
