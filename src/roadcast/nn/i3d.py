"""I3D (Carreira & Zisserman 2017, "Quo Vadis, Action Recognition?"): Inception-v1 inflated to three dimensions, in plain torch.

It names what people do in a clip (Kinetics-400); its 400 logits are the features that the Frechet Video Distance is taken in.
Clips keep their channels last: pooling is then ten times as fast on a CPU, and a convolution of one pixel is a matrix product.
"""

from collections.abc import Mapping
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.nn.folding import folded

CLASSES = 400
SIDE = 224
EPSILON = 1e-3
MIXED = (  # channels of the four branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; pool and 1x1. None: a pooling
    (64, (96, 128), (16, 32), 32),
    (128, (128, 192), (32, 96), 64),
    None,
    (192, (96, 208), (16, 48), 64),
    (160, (112, 224), (24, 64), 64),
    (128, (128, 256), (24, 64), 64),
    (112, (144, 288), (32, 64), 64),
    (256, (160, 320), (32, 128), 128),
    None,
    (256, (160, 320), (32, 128), 128),
    (384, (192, 384), (48, 128), 128),
)
POOLS = ((3, 3, 3), (2, 2, 2))
"""Of the two poolings between the mixed blocks."""


class Unit(nn.Module):
    """Convolution and ReLU, the normalisation between them being part of the weights.

    Padded as TensorFlow's "SAME" does, by what the size of the input asks for.
    """

    def __init__(self, inside: int, outside: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outside, inside, kernel, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outside))
        self.kernel, self.stride = kernel, stride

    def forward(self, x_BTHWC: Tensor) -> Tensor:
        if self.kernel == 1:
            return F.relu_(F.linear(x_BTHWC, self.weight.flatten(1), self.bias))
        padding = self.kernel // 2
        if self.stride > 1:
            sides = [same_padding(n, self.kernel, self.stride) for n in x_BTHWC.shape[3:0:-1]]
            x_BTHWC, padding = F.pad(x_BTHWC, [0, 0, *chain(*sides)]), 0
        return F.relu_(F.conv3d(x_BTHWC.movedim(-1, 1), self.weight, self.bias, self.stride, padding)).movedim(1, -1)


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, inside: int, channels: tuple[int, tuple[int, int], tuple[int, int], int]):
        super().__init__()
        first, second, third, last = channels
        self.branches = nn.ModuleList(
            [
                Unit(inside, first),
                nn.Sequential(Unit(inside, second[0]), Unit(second[0], second[1], 3)),
                nn.Sequential(Unit(inside, third[0]), Unit(third[0], third[1], 3)),
                Unit(inside, last),
            ]
        )
        self.channels = first + second[1] + third[1] + last

    def forward(self, x_BTHWC: Tensor) -> Tensor:
        inputs = [x_BTHWC, x_BTHWC, x_BTHWC, max_pool(x_BTHWC, (3, 3, 3), (1, 1, 1))]
        return torch.cat([branch(x) for branch, x in zip(self.branches, inputs, strict=True)], dim=-1)


class I3D(nn.Module):
    """Clips to 400 logits; frozen."""

    def __init__(self):
        super().__init__()
        self.first = Unit(3, 64, 7, 2)
        self.second = nn.Sequential(Unit(64, 64), Unit(64, 192, 3))
        blocks, channels = [], 192
        for shape in MIXED:
            if shape is not None:
                blocks.append(Mixed(channels, shape))
                channels = blocks[-1].channels
        self.blocks = nn.ModuleList(blocks)
        self.logits = nn.Linear(channels, CLASSES)
        self.eval().requires_grad_(False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "I3D":
        """The network with released weights, whatever their names: they are told apart by order and shape.

        tensors  in the order of the layers, each convolution followed by its normalisation's weight, bias, mean and variance, as all
                 conversions to PyTorch have them
        Raises: ValueError that says which layer's weights are missing or of another shape.
        """
        self = cls()
        given = [(name, tensor) for name, tensor in tensors.items() if tensor.ndim > 0]  # what is counted is left alone
        given.sort(key=lambda pair: len(pair[1]) == CLASSES)  # the last layer's, which some have first
        units = [module for module in self.modules() if isinstance(module, Unit)]
        needed = [shape for unit in units for shape in (unit.weight.shape, *[unit.bias.shape] * 4)]
        needed += [(*self.logits.weight.shape, 1, 1, 1), self.logits.bias.shape]
        for (name, tensor), shape in zip(given, needed):
            if tensor.shape != tuple(shape):
                raise ValueError(f"weight {name} is {tuple(tensor.shape)} where I3D's is {tuple(shape)}")
        if len(needed) != len(given):
            raise ValueError(f"{len(given)} weights where I3D of {CLASSES} classes has {len(needed)}")
        *values, weight, bias = (tensor for _, tensor in given)
        for number, unit in enumerate(units):
            unit.weight.data, unit.bias.data = folded(*values[5 * number : 5 * number + 5], EPSILON)
            unit.weight.data = unit.weight.to(memory_format=torch.channels_last_3d)
        self.logits.weight.data, self.logits.bias.data = weight.flatten(1), bias
        return self

    def forward(self, x_BTHWC: Tensor) -> Tensor:
        """Logits [B, 400], their mean over time, of clips in [-1, 1]; SIDE pixels a side and 9 frames at least."""
        x = self.first(x_BTHWC)
        x = self.second(max_pool(x, (1, 3, 3), (1, 2, 2)))
        x = max_pool(x, (1, 3, 3), (1, 2, 2))
        blocks, pools = iter(self.blocks), iter(POOLS)
        for shape in MIXED:
            x = max_pool(x, next(pools), (2, 2, 2)) if shape is None else next(blocks)(x)
        x = F.avg_pool3d(x.movedim(-1, 1), (2, 7, 7), stride=1)
        return self.logits(x.mean(dim=(2, 3, 4)))  # the mean of the logits, which are linear


def max_pool(x_BTHWC: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Max pooling padded as "SAME"; of numbers above 0, so that it is all one what pads, and a last, odd one need not be there."""
    before = [same_padding(n, k, s)[0] for n, k, s in zip(x_BTHWC.shape[1:4], kernel, stride, strict=True)]
    return F.max_pool3d(x_BTHWC.movedim(-1, 1), kernel, stride, before, ceil_mode=True).movedim(1, -1)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Before and behind an axis, for ceil(size / stride) results, the odd one behind."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2
