"""What JPEG loses: 8x8 cosine transform, quantised, and colour at half the resolution; no bits are written."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

_RANGE = (20, 85)
_LUMA = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMA = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""
_FORWARD, _BACK = 2.0**13, 2.0**12


@register_augmentation("jpeg")
class Jpeg(Paint):
    """Quality 20 to 85 of the usual scale, colour 4:2:0, one quality a clip (ITU-T T.81, A.3.3 and tables K.1 and K.2).

    The cosine transform is a matrix of whole numbers over 2^13 on whole pixels, so every sum is exact. Edges are repeated up to a
    multiple of 16.
    """

    phase = "link"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        low, high = _RANGE
        return compressed(pixels_NFVCHW, np.floor(chance.uniform("quality", low=low, high=high + 1)))


def compressed(pixels_NFVCHW: Tensor, quality_N: np.ndarray) -> Tensor:
    """uint8 pixels as they come back from JPEG of each clip's quality, 1 to 100."""
    n, height, width = len(pixels_NFVCHW), *pixels_NFVCHW.shape[-2:]
    x = pixels_NFVCHW.view(-1, 3, height, width).float()
    if height % 16 or width % 16:
        x = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
    red, green, blue = x.unbind(1)
    luma = red.mul(0.299).add_(green.mul(0.587)).add_(blue.mul(0.114))
    chroma = torch.stack([(blue - luma).mul_(0.5 / 0.886), (red - luma).mul_(0.5 / 0.701)], 1)
    chroma = F.avg_pool2d(chroma.round_(), 2).round_()
    luma = _through(luma.sub_(128).round_(), _LUMA, quality_N, n).add_(128)
    cb, cr = F.interpolate(_through(chroma, _CHROMA, quality_N, n), scale_factor=2, mode="bilinear").unbind(1)
    x[:, 0] = luma + cr.mul(1.402)
    x[:, 1] = (luma - cb.mul(0.114 * 1.772 / 0.587)).sub_(cr.mul_(0.299 * 1.402 / 0.587))
    x[:, 2] = luma.add_(cb.mul_(1.772))
    return to_bytes(x)[..., :height, :width].reshape(pixels_NFVCHW.shape)


def _through(plane: Tensor, table: str, quality_N: np.ndarray, n: int) -> Tensor:
    """Whole values in [-128, 128] through transform, quantisation and back, whole again: [..., H, W] of n clips."""
    height, width = plane.shape[-2:]
    basis = torch.from_numpy(_basis()).to(plane.device)
    step_N64 = torch.from_numpy(_steps(table, quality_N)).to(plane.device)[:, None]
    blocks = plane.view(-1, height // 8, 8, width // 8, 8).transpose(2, 3).reshape(-1, 64)
    coefficients = (blocks @ (basis * _FORWARD).round_().T).view(n, -1, 64)
    coefficients.mul_(1 / (step_N64 * _FORWARD)).round_().mul_(step_N64)
    blocks = (coefficients.view(-1, 64) @ (basis * _BACK).round_()).mul_(1 / _BACK).round_()
    return blocks.view(-1, height // 8, width // 8, 8, 8).transpose(2, 3).reshape(plane.shape)


def _basis() -> np.ndarray:
    """The orthonormal cosine basis of 8x8 blocks, float32 [64 coefficients, 64 pixels]."""
    k, x = np.arange(8)[:, None], np.arange(8)
    one = np.where(k == 0, math.sqrt(1 / 8), 0.5) * np.cos(math.pi * (2 * x + 1) * k / 16)
    return np.kron(one, one).astype(np.float32)


def _steps(table: str, quality_N: np.ndarray) -> np.ndarray:
    """Quantisation steps, float32 [N, 64]: the table scaled by 5000 / q % below quality 50 and by 200 - 2 q % from there."""
    percent = np.where(quality_N < 50, np.floor(5000 / quality_N), 200 - 2 * quality_N)[:, None]
    return np.clip(np.floor((np.array(table.split(), float) * percent + 50) / 100), 1, 255).astype(np.float32)
