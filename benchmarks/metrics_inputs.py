"""What both sides of a comparison are given: weights and pictures made by one formula, the same on every machine.

    u(n) = frac(43758.5453 sin(12.9898 n + 78.233 k)),    k the place in the list of tensors, n the place in the tensor

Weights of convolutions are uniform with the variance that keeps features alive (He et al. 2015, eq. 10).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def uniform(shape: Sequence[int], k: int) -> np.ndarray:
    """u of a whole tensor, float64 in [0, 1)."""
    n = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
    return (43758.5453 * np.sin(12.9898 * n + 78.233 * k) % 1.0).reshape(shape)


def weights(layout: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Tensors of a published layout, name to shape: kernels around 0, heads and variances above 0, the rest small.

    Names that stand for a constant of `lpips`, or twice for one tensor, are left out.
    """
    made = {}
    for k, (name, shape) in enumerate(layout.items()):
        if name.startswith(("scaling_layer.", "lins.")):
            continue
        u = uniform(shape, k)
        if name.startswith("lin"):
            values = u
        elif name.endswith(("running_var", "bn.weight")):
            values = 0.5 + u
        elif len(shape) > 1:
            values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
        else:
            values = 0.2 * u - 0.1
        made[name] = torch.tensor(values, dtype=torch.float32)
    return made


def pictures(count: int, height: int, width: int, k: int = 0) -> Tensor:
    """uint8 [count, height, width, 3]: waves of a few lengths under a little noise."""
    y, x, channel = np.mgrid[:height, :width, :3].astype(np.float64)
    made = []
    for n in range(count):
        a, b, c = 1 + 3 * uniform((3,), 1000 + 10 * n + k)
        wave = np.sin(a * x / 9 + channel + n) + np.sin(b * y / 7 - channel) + np.sin(c * (x + y) / 23)
        made.append(127.5 + 35 * wave + 30 * (uniform((height, width, 3), n + k) - 0.5))
    return torch.from_numpy(np.clip(np.rint(made), 0, 255).astype(np.uint8))


def features(count: int, width: int, k: int = 0) -> np.ndarray:
    """float32 [count, width], correlated, above 0 as a network's are."""
    mixed = (uniform((count, width), k) - 0.5) @ (uniform((width, width), 7) - 0.5)
    return np.maximum(mixed + 0.1 * k, 0).astype(np.float32)
