"""Reconstruction losses of the tokenizer, each a mean over frames, images in [-1, 1] channels last."""

import torch.nn.functional as F
from torch import Tensor

from roadcast.nn.image_quality import ssim


def pixel_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |made - true|`."""
    return F.l1_loss(made_BFHWC, true_BFHWC)


def structure_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`1 - SSIM` (Wang et al. 2004; as a loss: Zhao et al. 2017)."""
    return 1 - ssim(made_BFHWC, true_BFHWC, data_range=2.0).mean()


def difference_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |(made[f] - made[f-1]) - (true[f] - true[f-1])|`: what flickers is not in the film."""
    return F.l1_loss(made_BFHWC.diff(dim=1), true_BFHWC.diff(dim=1))
