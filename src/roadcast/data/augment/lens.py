"""What sits on the lens, and stray light in it: the same in all frames of a clip."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

_DROPS = 6


@register_augmentation("drops")
class Drops(Paint):
    """One to six water drops on each camera's glass: inside one, with a soft rim, the picture is blurred and a little brighter.

    Radius 4 to 14 % of the height.
    """

    phase = "lens"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        n, _, views, _, height, width = pixels_NFVCHW.shape
        count = np.floor(chance.uniform("count", views, low=1, high=_DROPS + 1))
        radius = height * chance.uniform("radius", views, _DROPS, low=0.04, high=0.14)
        radius = np.where(np.arange(_DROPS) < count[..., None], radius, 1e-3)
        centre = chance.uniform("centre", views, _DROPS, 2) * (width, height)
        x = pixels_NFVCHW.float()
        inside = torch.zeros(n, views, height, width, device=x.device)
        for d in range(_DROPS):
            near = _nearness(centre[:, :, d], radius[:, :, d], height, width, x.device)
            inside = torch.maximum(inside, near.mul_(3).clamp_(max=1))
        through = _coarse(x).mul_(per_clip(chance.uniform("bright", low=1.0, high=1.15), x)).add_(6)
        return to_bytes(x.add_(through.sub_(x).mul_(inside[:, None, :, None])))


@register_augmentation("glare")
class Glare(Paint):
    """Stray light of a low sun or a headlight in one of the cameras: x' = x + a / (1 + (d / r)^2)^2, d pixels from its middle.

    a is 60 to 180, r 15 to 45 % of the height, the light warm white; the middle lies in the upper 60 % of the picture.
    """

    phase = "lens"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        _, _, views, _, height, width = pixels_NFVCHW.shape
        blinded = np.arange(views) == np.floor(chance.uniform("view") * views)[:, None]
        radius = height * chance.uniform("radius", 1, low=0.15, high=0.45)
        centre = chance.uniform("centre", 1, 2) * (width, 0.6 * height)
        tint = (1.0, 0.95, 0.85) * chance.uniform("strength", low=60, high=180)[:, None]
        x = pixels_NFVCHW.float()
        spread = _nearness(centre, radius, height, width, x.device).sub_(2).square_()
        shown = torch.from_numpy(blinded.astype(np.float32)).to(x.device)[:, None, :, None, None, None]
        light = per_clip(tint, x) * shown / spread.view(len(x), 1, 1, 1, height, width)
        return to_bytes(x.add_(light))


def _nearness(centre_NV2: np.ndarray, radius_NV: np.ndarray, height: int, width: int, device: torch.device) -> Tensor:
    """1 - (d / r)^2 for the distance d of every pixel from a centre (x, y), float32 [N, V, H, W]."""
    x, y, r = (
        torch.from_numpy(v.astype(np.float32)).to(device)[..., None, None]
        for v in (centre_NV2[..., 0], centre_NV2[..., 1], 1 / radius_NV**2)
    )
    u = torch.arange(width, device=device, dtype=torch.float32)
    v = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    return 1 - ((u - x).square() + (v - y).square()) * r


def _coarse(x_NFVCHW: Tensor) -> Tensor:
    """The picture in means of 8x8 pixels, linear between them."""
    height, width = x_NFVCHW.shape[-2:]
    images = x_NFVCHW.view(-1, 3, height, width)
    if height % 8 or width % 8:
        images = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
    coarse = F.interpolate(F.avg_pool2d(images, 8), scale_factor=8, mode="bilinear")
    return coarse[..., :height, :width].reshape(x_NFVCHW.shape)
