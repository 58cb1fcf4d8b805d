"""Inception-v3 (Szegedy et al. 2016) as the Frechet Inception Distance knows it: pictures to 2,048 features, in plain torch.

It is the network that TensorFlow published on 5 December 2015. Against the one that others call Inception-v3 its average pools
leave the padding out of account, and the last block's pool takes the largest.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.nn.folding import folded

SIDE = 299
FEATURES = 2048
CLASSES = 1008  # by which these weights are told from others of the same shapes
EPSILON = 1e-3

Shape = tuple[int, int, int]  # channels, height and width of a kernel
STEM: dict[str, tuple[Shape, int, int]] = {  # with stride and padding
    "Conv2d_1a_3x3": ((32, 3, 3), 2, 0),
    "Conv2d_2a_3x3": ((32, 3, 3), 1, 0),
    "Conv2d_2b_3x3": ((64, 3, 3), 1, 1),
    "Conv2d_3b_1x1": ((80, 1, 1), 1, 0),
    "Conv2d_4a_3x3": ((192, 3, 3), 1, 0),
}
POOL_AFTER = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")
FORK: Shape = (384, 1, 3)
"""Not one but two convolutions, 1x3 and 3x1, that see the same and lie beside each other."""


def five(pooled: int) -> dict[str, list[Shape]]:
    return {
        "branch1x1": [(64, 1, 1)],
        "branch5x5": [(48, 1, 1), (64, 5, 5)],
        "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
        "branch_pool": [(pooled, 1, 1)],
    }


def six(inner: int) -> dict[str, list[Shape]]:
    return {
        "branch1x1": [(192, 1, 1)],
        "branch7x7": [(inner, 1, 1), (inner, 1, 7), (192, 7, 1)],
        "branch7x7dbl": [(inner, 1, 1), (inner, 7, 1), (inner, 1, 7), (inner, 7, 1), (192, 1, 7)],
        "branch_pool": [(192, 1, 1)],
    }


SIX_HALVES: dict[str, list[Shape]] = {
    "branch3x3": [(384, 3, 3)],
    "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
}
SEVEN_HALVES: dict[str, list[Shape]] = {
    "branch3x3": [(192, 1, 1), (320, 3, 3)],
    "branch7x7x3": [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)],
}
SEVEN: dict[str, list[Shape]] = {
    "branch1x1": [(320, 1, 1)],
    "branch3x3": [(384, 1, 1), FORK],
    "branch3x3dbl": [(448, 1, 1), (384, 3, 3), FORK],
    "branch_pool": [(192, 1, 1)],
}
MIXED = {
    "Mixed_5b": (five(32), "mean"),
    "Mixed_5c": (five(64), "mean"),
    "Mixed_5d": (five(64), "mean"),
    "Mixed_6a": (SIX_HALVES, "halve"),
    "Mixed_6b": (six(128), "mean"),
    "Mixed_6c": (six(160), "mean"),
    "Mixed_6d": (six(160), "mean"),
    "Mixed_6e": (six(192), "mean"),
    "Mixed_7a": (SEVEN_HALVES, "halve"),
    "Mixed_7b": (SEVEN, "mean"),
    "Mixed_7c": (SEVEN, "max"),
}
"""Branches by the names of the public file, a number added where a branch has several convolutions, and how the block pools."""


class Conv(nn.Conv2d):
    """Convolution and ReLU; the normalisation between them is part of the weights."""

    def __init__(self, inside: int, shape: Shape, stride: int, padding: int | tuple[int, int]):
        super().__init__(inside, shape[0], shape[1:], stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu_(super().forward(input))


class Mixed(nn.Module):
    """Branches side by side; where the block halves the picture, the last convolution of each does, and what is pooled is passed on."""

    def __init__(self, inside: int, branches: Mapping[str, Sequence[Shape]], pool: str):
        super().__init__()
        self.pool, self.branches = pool, {}
        self.channels = inside if pool == "halve" else 0
        for branch, shapes in branches.items():
            before, steps = inside, []
            for number, shape in enumerate(shapes, start=1):
                name = f"{branch}_{number}" if len(shapes) > 1 else branch
                last = number == len(shapes)
                if shape == FORK:
                    sides = {f"{name}a": shape, f"{name}b": (shape[0], shape[2], shape[1])}
                else:
                    sides = {name: shape}
                for side, (channels, height, width) in sides.items():
                    halves = last and pool == "halve"
                    padding = 0 if halves else (height // 2, width // 2)
                    self.add_module(side, Conv(before, (channels, height, width), 2 if halves else 1, padding))
                steps.append(tuple(sides))
                before = len(sides) * shape[0]
            self.branches[branch] = steps
            self.channels += before

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled = self.pooled(x_BCHW)
        made = []
        for branch, steps in self.branches.items():
            x = pooled if branch == "branch_pool" else x_BCHW
            for sides in steps:
                seen = [self.get_submodule(side)(x) for side in sides]
                x = seen[0] if len(seen) == 1 else torch.cat(seen, dim=1)
            made.append(x)
        return torch.cat([*made, pooled] if self.pool == "halve" else made, dim=1)

    def pooled(self, x_BCHW: Tensor) -> Tensor:
        """The input pooled by 3x3 as this block does."""
        if self.pool == "halve":
            return F.max_pool2d(x_BCHW, 3, stride=2)
        if self.pool == "max":
            return F.max_pool2d(x_BCHW, 3, stride=1, padding=1)
        return F.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


class Inception(nn.Module):
    """Pictures to 2,048 features; frozen."""

    def __init__(self):
        super().__init__()
        channels = 3
        for name, (shape, stride, padding) in STEM.items():
            self.add_module(name, Conv(channels, shape, stride, padding))
            channels = shape[0]
        for name, (branches, pool) in MIXED.items():
            block = Mixed(channels, branches, pool)
            self.add_module(name, block)
            channels = block.channels
        assert channels == FEATURES
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Inception":
        """The network with public weights, under the names that pytorch-fid and torch-fidelity publish them by.

        tensors  of each convolution `<name>.conv.weight` and `<name>.bn.weight`, `.bias`, `.running_mean`, `.running_var`, and `fc.weight`
                 [1008, 2048], which is not used but tells these weights from others
        Raises: ValueError that names the first tensor that is missing or of another shape.
        """
        self = cls()

        def taken(name: str, shape: Sequence[int]) -> Tensor:
            given = tuple(tensors[name].shape) if name in tensors else "absent"
            if given != tuple(shape):
                raise ValueError(f"weight {name} is {given} where FID's Inception-v3 has {tuple(shape)}")
            return tensors[name]

        taken("fc.weight", (CLASSES, FEATURES))
        state = {}
        for name, conv in self.named_modules():
            if isinstance(conv, Conv):
                norm = ("weight", "bias", "running_mean", "running_var")
                values = [taken(f"{name}.bn.{part}", conv.weight.shape[:1]) for part in norm]
                weight = taken(f"{name}.conv.weight", conv.weight.shape)
                state[f"{name}.weight"], state[f"{name}.bias"] = folded(weight, *values, EPSILON)
        self.load_state_dict(state)
        return self

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Features [B, 2048] of pictures RGB in [0, 255], SIDE pixels a side (`resized` brings others there as TensorFlow did)."""
        x = ((x_BHWC - 128) / 128).movedim(-1, 1)
        for name in (*STEM, *MIXED):
            x = self.get_submodule(name)(x)
            if name in POOL_AFTER:
                x = F.max_pool2d(x, 3, stride=2)
        return x.mean(dim=(2, 3))


def resized(x_BHWC: Tensor, side: int = SIDE) -> Tensor:
    """Pictures [B, H, W, C] at `side` pixels, bilinear as TensorFlow 1 had it: pixel i lies at i H / side, not at its middle."""

    def weights(size: int) -> Tensor:
        at = torch.arange(side, dtype=torch.float32) * (
            size / side
        )  # in float32, as theirs, which is seen in the fifth digit
        low = at.long()
        part = at - low
        rows = torch.zeros(side, size)
        rows[torch.arange(side), low] += 1 - part
        rows[torch.arange(side), (low + 1).clamp_max(size - 1)] += part
        return rows.to(x_BHWC)

    down, across = weights(x_BHWC.shape[1]), weights(x_BHWC.shape[2])
    return torch.einsum("yh,bhwc,xw->byxc", down, x_BHWC, across)
