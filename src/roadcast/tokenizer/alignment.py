"""Latents that lie as the features of a frozen encoder do."""

import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn


class Alignment(nn.Module):
    """`L = mean relu(1 - m1 - cos(W z_i, f_i)) + mean relu(|cos(z_i, z_j) - cos(f_i, f_j)| - m2)`, i and j cells of one clip.

    The marginal losses of cosine similarity and of distance matrices (Yao et al. 2025, VA-VAE, eq. 5 to 7), with the paper's
    margins m1 = 0.5 and m2 = 0.25. The map W is learnt along, and has no part in the tokenizer.
    """

    def __init__(self, latent_channels: int, width: int):
        super().__init__()
        self.map = nn.Linear(latent_channels, width, bias=False)

    def forward(self, z_BTHWC: Tensor, features_BTHWD: Tensor, m1: float = 0.5, m2: float = 0.25) -> Tensor:
        """The scalar for latents and features of the same clips, which may have other grids: features are brought to the latents'."""
        f_BDTHW = rearrange(features_BTHWD, "b t h w d -> b d t h w").float()
        f_BDTHW = F.interpolate(f_BDTHW, z_BTHWC.shape[1:4], mode="trilinear")
        f_BLD = rearrange(f_BDTHW, "b d t h w -> b (t h w) d")
        z_BLC = rearrange(z_BTHWC, "b t h w c -> b (t h w) c").float()
        point = F.relu(1 - m1 - F.cosine_similarity(self.map(z_BLC), f_BLD, dim=-1)).mean()
        alike_z, alike_f = (cosines(x) for x in (z_BLC, f_BLD))
        return point + F.relu((alike_z - alike_f).abs() - m2).mean()


def cosines(x_BLD: Tensor) -> Tensor:
    """The cosine of every pair of cells of a clip, [B, L, L]."""
    x_BLD = F.normalize(x_BLD, dim=-1)
    return einsum(x_BLD, x_BLD, "b i d, b j d -> b i j")
