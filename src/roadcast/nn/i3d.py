"""I3D (Carreira & Zisserman 2017, "Quo Vadis, Action Recognition?"): Inception-v1 inflated to three dimensions, in plain torch.

It names what people do in a clip (Kinetics-400); its 400 logits are the features that the Frechet Video Distance is taken in.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 400
SIDE = 224
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
    """Convolution, batch normalisation, ReLU; padded as TensorFlow's "SAME" does, by what the size of the input asks for."""

    def __init__(self, inside: int, outside: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv3d(inside, outside, kernel, stride, bias=False)
        self.norm = nn.BatchNorm3d(outside, eps=1e-3)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size, self.conv.stride
        return F.relu(self.norm(self.conv(F.pad(x_BCTHW, same_padding(x_BCTHW.shape[2:], kernel, stride)))))


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

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        pooled = max_pool(x_BCTHW, (3, 3, 3), (1, 1, 1))
        inputs = [x_BCTHW, x_BCTHW, x_BCTHW, pooled]
        return torch.cat([branch(x) for branch, x in zip(self.branches, inputs, strict=True)], dim=1)


class I3D(nn.Module):
    """Clips to 400 logits. Batch normalisation is frozen."""

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
        self.logits = nn.Conv3d(channels, CLASSES, 1)
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
        own = [(name, tensor) for name, tensor in self.state_dict().items() if tensor.ndim > 0]
        for (name, tensor), (theirs, value) in zip(own, given):
            if tensor.shape != value.shape:
                raise ValueError(f"weight {theirs} is {tuple(value.shape)} where I3D's {name} is {tuple(tensor.shape)}")
        if len(own) != len(given):
            raise ValueError(f"{len(given)} weights where I3D of {CLASSES} classes has {len(own)}")
        counted = {name: tensor for name, tensor in self.state_dict().items() if tensor.ndim == 0}
        self.load_state_dict(counted | {name: value for (name, _), (_, value) in zip(own, given, strict=True)})
        return self

    def forward(self, x_BTHWC: Tensor) -> Tensor:
        """Logits [B, 400], their mean over time, of clips in [-1, 1]; SIDE pixels a side and 9 frames at least."""
        x = self.first(x_BTHWC.movedim(-1, 1))
        x = self.second(max_pool(x, (1, 3, 3), (1, 2, 2)))
        x = max_pool(x, (1, 3, 3), (1, 2, 2))
        blocks, pools = iter(self.blocks), iter(POOLS)
        for shape in MIXED:
            x = max_pool(x, next(pools), (2, 2, 2)) if shape is None else next(blocks)(x)
        x = self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1))
        return x.mean(dim=(2, 3, 4))


def max_pool(x_BCTHW: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Max pooling padded as "SAME"; of numbers above 0, so that zeros pad."""
    return F.max_pool3d(F.pad(x_BCTHW, same_padding(x_BCTHW.shape[2:], kernel, stride)), kernel, stride)


def same_padding(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """What `F.pad` needs for ceil(size / stride) results on each axis, the odd one at the end."""
    padding: list[int] = []
    for n, k, s in zip(size, kernel, stride, strict=True):
        total = max(0, (-(-n // s) - 1) * s + k - n)
        padding = [total // 2, total - total // 2, *padding]
    return padding
