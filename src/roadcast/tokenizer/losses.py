"""Reconstruction losses of the tokenizer, each a mean over frames, images in [-1, 1] channels last.

A new one is a function of (made, true) in `PICTURE_LOSSES`: the tokenizer's objective then has a weight of its name.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from roadcast.nn.image_quality import halved, ms_ssim, ssim, weights_that_fit

PictureLoss = Callable[[Tensor, Tensor], Tensor]


def pixel_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |made - true|`."""
    return F.l1_loss(made_BFHWC, true_BFHWC)


def structure_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`1 - SSIM` (Wang et al. 2004; as a loss: Zhao et al. 2017)."""
    return 1 - ssim(made_BFHWC, true_BFHWC, data_range=2.0).mean()


def multiscale_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`1 - MS-SSIM` (Wang et al. 2003; as a loss: Zhao et al. 2017), over as many of the paper's five scales as fit."""
    weights = weights_that_fit(*made_BFHWC.shape[2:4])
    return 1 - ms_ssim(made_BFHWC, true_BFHWC, data_range=2.0, weights=weights).mean()


def gradient_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |d_y made - d_y true| + mean |d_x made - d_x true|`, differences of neighbouring pixels: edges stay sharp.

    After Mathieu et al. 2016, eq. 6 with alpha = 1, which compares their sizes; here their signs count too.
    """
    dy, dx = (F.l1_loss(made_BFHWC.diff(dim=axis), true_BFHWC.diff(dim=axis)) for axis in (2, 3))
    return dy + dx


def difference_loss(made_BFHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |(made[f] - made[f-1]) - (true[f] - true[f-1])|`: what flickers is not in the film."""
    return F.l1_loss(made_BFHWC.diff(dim=1), true_BFHWC.diff(dim=1))


PICTURE_LOSSES: dict[str, PictureLoss] = {
    "pixel": pixel_loss,
    "structure": structure_loss,
    "multiscale": multiscale_loss,
    "gradient": gradient_loss,
    "difference": difference_loss,
}


def equivariance_loss(decode: Callable[[Tensor], Tensor], z_BTHWC: Tensor, true_BFHWC: Tensor) -> Tensor:
    """`mean |D(half(z)) - half(true)|`: latents of half the size must mean the picture at half the size.

    Scale equivariance takes from latents the high frequencies that a picture does not have and a diffusion model cannot learn
    (Skorokhodov et al. 2025, "Improving the Diffusability of Autoencoders", section 4). An odd row or column at the border is
    left out.
    """
    made = decode(halved(z_BTHWC))
    height, width = made.shape[2:4]
    return pixel_loss(made, halved(true_BFHWC[:, :, : 2 * height, : 2 * width]))
