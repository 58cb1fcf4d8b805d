"""Judges of pictures, patch by patch, and of noised latents, and what they and the generator learn from each other."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.nn.modulation import fourier_features


class PatchDiscriminator(nn.Module):
    """Images [..., H, W, 3] in [-1, 1] to a score for each overlapping patch [..., h, w]: true above, made below zero.

    4x4 convolutions of stride 2, doubling in width, as PatchGAN (Isola et al. 2017, section 3.2.2), but without norms
    over the batch, so that a picture's score is its own.
    """

    def __init__(self, width: int = 64, depth: int = 3):
        super().__init__()
        channels = [3, *(width * 2**level for level in range(depth))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(channels)
        )
        self.out = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = rearrange(images.reshape(-1, *images.shape[-3:]), "n h w c -> n c h w")
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        x = self.out(x).squeeze(1)
        return x.reshape(*images.shape[:-3], *x.shape[-2:])


class NoisedDiscriminator(nn.Module):
    """Latents [B, T, H, W, C] at noise levels `t` [B, T] to a score for every cell [B, T, H, W]: true above, made below zero.

    3x3x3 convolutions over time and space, the level added to every frame before the first. What is judged is noised, so that both
    kinds overlap and the slope never vanishes (Wang et al. 2023, "Diffusion-GAN", section 3).
    """

    def __init__(self, channels: int, width: int = 96, depth: int = 3):
        super().__init__()
        self.inlet = nn.Linear(channels, width)
        self.embed_noise = nn.Linear(128, width)
        self.convs = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for _ in range(depth))
        self.out = nn.Linear(width, 1)

    def forward(self, x_BTHWC: Tensor, t_BT: Tensor) -> Tensor:
        level = self.embed_noise(fourier_features(t_BT, 128).to(self.inlet.weight.dtype))
        x = rearrange(self.inlet(x_BTHWC) + level[:, :, None, None], "b t h w c -> b c t h w")
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        return self.out(rearrange(x, "b c t h w -> b t h w c")).squeeze(-1)


def discriminator_hinge(true: Tensor, made: Tensor) -> Tensor:
    """`mean max(0, 1 - D(true)) + mean max(0, 1 + D(made))` of scores (Lim & Ye 2017, eq. 8; Miyato et al. 2018, eq. 16)."""
    return F.relu(1 - true).mean() + F.relu(1 + made).mean()


def generator_hinge(made: Tensor) -> Tensor:
    """`-mean D(made)` of scores (Lim & Ye 2017, eq. 9; Miyato et al. 2018, eq. 17)."""
    return -made.mean()


def r1_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """`1/2 E |grad_x D(x)|^2` on true images (Mescheder et al. 2018, eq. 9, without its gamma), mean over patches.

    scores   D(images), the images with `requires_grad` when they were scored
    A patch is judged by itself, so the squared gradient of the sum of an image's scores is shared among them.
    """
    (slope,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return 0.5 * slope.square().sum() / scores.numel()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """`|grad_L reconstruction| / (|grad_L adversarial| + 1e-6)`, at most 1e4, a constant for the backward pass.

    Esser et al. 2021 (VQGAN), eq. 7: the generator's term pulls as hard at the decoder's last layer L as all others together.
    """
    norms = [
        torch.linalg.vector_norm(torch.autograd.grad(loss, last_layer, retain_graph=True)[0])
        for loss in (reconstruction, adversarial)
    ]
    return (norms[0] / (norms[1] + 1e-6)).clamp_max(1e4)
