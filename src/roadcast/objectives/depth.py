"""Losses of depth, told by the frozen network that comes with roadcast: the right shape of the scene, and no flicker of it."""

import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.flow.world import World
from roadcast.objectives.losses import register_loss
from roadcast.perception.depth import load_depth


class LogDepths:
    """What both losses compare. The network is loaded for each stage, on the world's device."""

    def __init__(self, world: World):
        self.network = load_depth(None, world.device).network

    def log_depths(self, made_BFHWC: Tensor, true_BFHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Log depth [B, F, H, W] of both; gradients reach what was made."""
        with torch.no_grad():
            true = self.network(true_BFHWC).log()
        return self.network(made_BFHWC).log(), true


@register_loss("depth", compares="frames")
class DepthLoss(LogDepths):
    """`mean |e - median(e)|`, `e = log d(made) - log d(true)`, the median of each frame: depth right up to a factor.

    After the scale-aligned loss of Ranftl et al. 2020, section 5.
    """

    def __call__(self, made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
        made, true = self.log_depths(made_BFHWC, true_BFHWC)
        error = (made - true).flatten(2)
        return (error - error.detach().median(dim=-1, keepdim=True).values).abs().mean()


@register_loss("depth_consistency", compares="frames")
class DepthConsistencyLoss(LogDepths):
    """`mean |d_t log d(made) - d_t log d(true)|`, differences along time: depth changes as it truly does, and no factor matters."""

    def __call__(self, made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
        made, true = self.log_depths(made_BFHWC, true_BFHWC)
        return (made.diff(dim=1) - true.diff(dim=1)).abs().mean()
