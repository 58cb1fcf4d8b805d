"""Losses of depth, told by the frozen network that comes with roadcast: the right shape of the scene, and no flicker of it."""

from functools import cache

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.objectives.losses import register_loss
from roadcast.perception.depth import load_depth


@register_loss("depth", compares="frames")
def depth_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`mean |e - median(e)|`, `e = log d(made) - log d(true)`, the median of each frame: depth right up to a factor.

    After the scale-aligned loss of Ranftl et al. 2020, section 5.
    """
    made, true = log_depths(made_BFHWC, true_BFHWC)
    error = (made - true).flatten(2)
    return (error - error.detach().median(dim=-1, keepdim=True).values).abs().mean()


@register_loss("depth_consistency", compares="frames")
def depth_consistency_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`mean |d_t log d(made) - d_t log d(true)|`, differences along time: depth changes as it truly does, and no factor matters."""
    made, true = log_depths(made_BFHWC, true_BFHWC)
    return (made.diff(dim=1) - true.diff(dim=1)).abs().mean()


def log_depths(made_BFHWC: Tensor, true_BFHWC: Tensor) -> tuple[Tensor, Tensor]:
    """Log depth [B, F, H, W] of both; gradients reach what was made."""
    network = depth_network(made_BFHWC.device)
    with torch.no_grad():
        true = network(true_BFHWC).log()
    return network(made_BFHWC).log(), true


@cache
def depth_network(device: torch.device) -> nn.Module:
    """The network on a device, loaded when a loss first asks for it."""
    return load_depth(None, device).network
