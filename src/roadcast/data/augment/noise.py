"""The sensor's noise: another pattern in every frame, one level a clip."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

_WINDOWS, _STEP = 1 << 14, 64


@register_augmentation("noise")
class Noise(Paint):
    """x' = x + sigma n with sigma^2 = read^2 + gain x: read-out noise and photons (Foi et al. 2008, equation 3), n normal.

    read is 0.5 to 4 and gain 0.02 to 0.3, in steps of 1 / 255. n is a window of one fixed table of normal numbers, at a place
    that the clip's chance gives for every frame and view.
    """

    phase = "sensor"

    def levels(self, chance: Chance) -> tuple[np.ndarray, np.ndarray]:
        """(read, gain) of each clip, float64 [N]."""
        return chance.uniform("read", low=0.5, high=4.0), chance.uniform("gain", low=0.02, high=0.3)

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        read, gain = self.levels(chance)
        views = pixels_NFVCHW.shape[1:3]
        place = (chance.uniform("place", *views) * _WINDOWS).astype(np.int64).ravel()
        size = pixels_NFVCHW[0, 0, 0].numel()
        x = pixels_NFVCHW.float()
        sigma = (x * per_clip(gain, x)).add_(per_clip(read * read, x)).sqrt_()
        table = _table(size, x.device).unfold(0, size, _STEP)
        normal = table.index_select(0, torch.from_numpy(place).to(x.device)).view(x.shape)
        return to_bytes(x.add_(sigma.mul_(normal)))


@lru_cache(maxsize=4)
def _table(size: int, device: torch.device) -> Tensor:
    """Normal numbers, enough for _WINDOWS windows of `size` that begin _STEP apart."""
    generator = np.random.Generator(np.random.Philox(20))
    return torch.from_numpy(generator.standard_normal(_WINDOWS * _STEP + size, np.float32)).to(device)
