"""Whether an encoder still tells clips apart: what falls to nothing when a joint embedding collapses."""

import torch
from einops import rearrange
from torch import Tensor


def deviations(features_BTSD: Tensor) -> Tensor:
    """Features less their mean over the clips at the same place and time, so that positions alone count for nothing."""
    return features_BTSD - features_BTSD.mean(dim=0)


def spread(features_BTSD: Tensor) -> Tensor:
    """The standard deviation over clips, the mean of all channels, places and times: 0 when all clips look alike.

    The term that VICReg holds up (Bardes et al. 2022, eq. 1), watched rather than trained. Two clips or more.
    """
    return features_BTSD.std(dim=0).mean()


def effective_rank(features_BTSD: Tensor) -> Tensor:
    """`exp(-sum p_i log p_i)`, `p_i = s_i / sum s` over the singular values of the deviations: how many directions clips differ in.

    Roy & Vetterli 2007, eq. 4; of features: RankMe, Garrido et al. 2023, eq. 1. From 1 to D; 0 where nothing differs.
    """
    s = torch.linalg.svdvals(rearrange(deviations(features_BTSD).float(), "b t s d -> (b t s) d"))
    p = s / s.sum().clamp_min(1e-12)
    return torch.special.entr(p).sum().exp() * (s.sum() > 1e-5 * features_BTSD.norm())
