"""A lens out of focus, or a camera that moves while the shutter is open."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

UNIT = 2048
"""Kernels are whole numbers that sum to this: times uint8 they stay below 2^24, and fit the 11 bits of TF32."""
_FINE = 8


@register_augmentation("blur")
class Blur(Paint):
    """Half of the clips get a disc of up to 1.4 % of the height in radius, half a line of up to 6 %, most often nearly level."""

    phase = "lens"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        n, height, width = len(pixels_NFVCHW), *pixels_NFVCHW.shape[-2:]
        reach = math.ceil(0.03 * height)
        kernels = torch.from_numpy(kernels_of(chance, height, reach)).to(pixels_NFVCHW.device)
        images = pixels_NFVCHW.view(1, -1, height, width).float()
        each = images.shape[1] // n
        weight = kernels[:, None].expand(-1, each, -1, -1).reshape(-1, 1, *kernels.shape[1:])
        images = F.pad(images, (reach,) * 4, mode="replicate")
        return to_bytes(F.conv2d(images, weight, groups=n * each).mul_(1 / UNIT)).view(pixels_NFVCHW.shape)


def kernels_of(chance: Chance, height: int, reach: int) -> np.ndarray:
    """A kernel a clip, float32 [N, 2 reach + 1, 2 reach + 1] of whole numbers that sum to UNIT."""
    moving, size = chance.uniform("moving") < 0.5, chance.uniform("size", low=0.3)
    angle = math.pi / 2 * chance.uniform("angle", low=-1) ** 3
    y, x = np.moveaxis(_fine_places(reach), -1, 0)
    along = x * np.cos(angle)[:, None, None] + y * np.sin(angle)[:, None, None]
    across = y * np.cos(angle)[:, None, None] - x * np.sin(angle)[:, None, None]
    half, radius = (np.maximum(0.5, k * height * size)[:, None, None] for k in (0.03, 0.014))
    line = (np.abs(along) <= half) & (np.abs(across) <= 0.5)
    disc = x * x + y * y <= radius * radius
    cover = np.where(moving[:, None, None], line, disc).astype(np.float64)
    side = 2 * reach + 1
    cover = cover.reshape(len(chance), side, _FINE, side, _FINE).sum(axis=(2, 4))
    whole = np.floor(UNIT * cover / cover.sum(axis=(1, 2), keepdims=True))
    whole[:, reach, reach] += UNIT - whole.sum(axis=(1, 2))
    return whole.astype(np.float32)


@lru_cache(maxsize=8)
def _fine_places(reach: int) -> np.ndarray:
    """Places (y, x) in pixels of _FINE x _FINE points in every pixel of a kernel, float64 [side, side, 2]."""
    axis = (np.arange((2 * reach + 1) * _FINE) + 0.5) / _FINE - 0.5 - reach
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
