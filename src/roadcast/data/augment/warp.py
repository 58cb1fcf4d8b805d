"""Crop and flip: each a matrix on pixels; together one resampling."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.augment.base import Warp, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance


@register_augmentation("crop")
class Crop(Warp):
    """A part of the picture, of its aspect and anywhere in it, enlarged to the whole: zoom and shift in one."""

    meaning = "largest share of height and width cut off, of every clip"
    limit = 0.9
    always = True

    def matrices(self, chance: Chance, height: int, width: int) -> np.ndarray:
        kept = 1 - self.amount * chance.uniform("size")
        place = chance.uniform("place", 2) * (1 - kept)[:, None] * (width, height)
        out = np.zeros((len(chance), 3, 3))
        out[:, 0, 0] = out[:, 1, 1] = 1 / kept
        out[:, :2, 2] = (0.5 - place) / kept[:, None] - 0.5
        out[:, 2, 2] = 1
        return out


@register_augmentation("flip")
class Flip(Warp):
    """Left and right changed: the same drive in a world mirrored at the ego's x-z plane."""

    def matrices(self, chance: Chance, height: int, width: int) -> np.ndarray:
        return np.broadcast_to(mirror_at(width), (len(chance), 3, 3))


def mirror_at(width: int) -> np.ndarray:
    """The matrix [3, 3] that changes left and right in pictures of this width."""
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])


def warped(pixels: Tensor, matrix_N33: np.ndarray) -> Tensor:
    """Pixels [N, ..., H, W], each clip moved by its matrix: uint8 linear between pixels, float (depth) from the nearest.

    A clip that stays or is only mirrored is not resampled.
    """
    mirrored = (matrix_N33 == mirror_at(pixels.shape[-1])).all(axis=(1, 2))
    moved = ~mirrored & (matrix_N33 != np.eye(3)).any(axis=(1, 2))
    if moved.all():
        return _resampled(pixels, matrix_N33)
    if not (mirrored | moved).any():
        return pixels
    out = pixels.clone()
    for some, change in ((mirrored, lambda x, m: x.flip(-1)), (moved, _resampled)):
        if some.any():
            place = torch.from_numpy(np.flatnonzero(some)).to(pixels.device)
            out.index_copy_(0, place, change(pixels.index_select(0, place), matrix_N33[some]))
    return out


def _resampled(pixels: Tensor, matrix_N33: np.ndarray) -> Tensor:
    height, width = pixels.shape[-2:]
    to_unit = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    back = torch.from_numpy((to_unit @ np.linalg.inv(matrix_N33)).astype(np.float32)).to(pixels.device)
    a, b, c = (back[:, :2, k, None, None] for k in range(3))
    u = torch.arange(width, device=pixels.device, dtype=torch.float32)
    v = torch.arange(height, device=pixels.device, dtype=torch.float32)[:, None]
    grid_NHW2 = (a * u + b * v + c).movedim(1, -1)
    mode = "bilinear" if pixels.dtype == torch.uint8 else "nearest"
    images = pixels.reshape(len(pixels), -1, height, width).float()
    out = F.grid_sample(images, grid_NHW2, mode=mode, padding_mode="border", align_corners=False)
    return (to_bytes(out) if pixels.dtype == torch.uint8 else out).view(pixels.shape)
