"""Learned perceptual distance of images (LPIPS; Zhang et al. 2018) in plain torch, with weights that the caller brings.

A trunk trained to name things sees both images; its features, each pixel's scaled to length one, are compared layer by layer
under weights that were fitted to what people find alike. The layers of the two trunks are those of Krizhevsky 2014 (AlexNet)
and of Simonyan & Zisserman 2015 (VGG16), without their classifiers.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# What ImageNet's trunks were trained on: mean and deviation of RGB in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Layer(NamedTuple):
    """A convolution and ReLU; `pool` pixels of max pooling with stride 2 before it (0: none); `tap`: compared after it."""

    channels: int
    kernel: int
    stride: int
    padding: int
    pool: int
    tap: bool


TRUNKS = {
    "alex": (
        Layer(64, 11, 4, 2, 0, True),
        Layer(192, 5, 1, 2, 3, True),
        Layer(384, 3, 1, 1, 3, True),
        Layer(256, 3, 1, 1, 0, True),
        Layer(256, 3, 1, 1, 0, True),
    ),
    "vgg": tuple(
        Layer(channels, 3, 1, 1, pool=2 if block and not i else 0, tap=i == convolutions - 1)
        for block, (channels, convolutions) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)])
        for i in range(convolutions)
    ),
}


class LPIPS(nn.Module):
    """`d(a, b) = sum_l mean_hw sum_c w_lc (a_lhwc - b_lhwc)^2`, features of length one (Zhang et al. 2018, eq. 1)."""

    smallest = 32  # pixels a side, below which nothing is left to pool
    mean: Tensor
    std: Tensor

    def __init__(self, trunk: str):
        super().__init__()
        if trunk not in TRUNKS:
            raise ValueError(f"trunk {trunk!r} is unknown; choose one of {', '.join(TRUNKS)}")
        self.layers = TRUNKS[trunk]
        channels = [3, *(layer.channels for layer in self.layers)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, layer.channels, layer.kernel, layer.stride, layer.padding)
            for before, layer in zip(channels[:-1], self.layers, strict=True)
        )
        self.heads = nn.ParameterList(torch.ones(layer.channels) for layer in self.layers if layer.tap)
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LPIPS":
        """The distance with weights under the names of the PyPI package `lpips`, frozen.

        tensors  `net.slice<s>.<n>.weight` and `.bias` (or torchvision's `features.<n>...`), n rising through the trunk, and
                 `lin<l>.model.1.weight` [1, C, 1, 1]; the first kernel says which trunk it is; other names are left alone
        Raises: ValueError that names the first tensor that is missing or of another shape.
        """
        found: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}, "head": {}}
        for name, tensor in tensors.items():
            if match := re.fullmatch(r"(?:net\.slice\d+|features)\.(\d+)\.(weight|bias)", name):
                found[match[2]][int(match[1])] = tensor
            elif match := re.fullmatch(r"lin(\d+)\.model\.1\.weight", name):
                found["head"][int(match[1])] = tensor.flatten()
        weights, biases, heads = ([part[n] for n in sorted(part)] for part in found.values())
        if not weights:
            raise ValueError("no tensor net.slice1.0.weight: these are not the weights of LPIPS")
        self = cls("alex" if weights[0].shape[-1] == 11 else "vgg")
        own = {
            **{f"convs.{i}.weight": tensor for i, tensor in enumerate(weights)},
            **{f"convs.{i}.bias": tensor for i, tensor in enumerate(biases)},
            **{f"heads.{i}": tensor for i, tensor in enumerate(heads)},
        }
        for name, tensor in self.state_dict().items():
            given = tuple(own[name].shape) if name in own else "absent"
            if given != tuple(tensor.shape):
                raise ValueError(f"weight {name} of LPIPS is {given} where {tuple(tensor.shape)} is needed")
        self.load_state_dict(own)
        return self.requires_grad_(False).eval()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance [...] of images [..., H, W, 3] in [-1, 1], 0 when equal; `smallest` pixels a side at least.

        Raises: ValueError when the shapes differ.
        """
        if a.shape != b.shape or a.shape[-1] != 3:
            raise ValueError(f"images must have one shape [..., H, W, 3], got {tuple(a.shape)} and {tuple(b.shape)}")
        lead = a.shape[:-3]
        features_a, features_b = (self.features(x.reshape(-1, *x.shape[-3:])) for x in (a, b))
        distance = torch.stack(
            [
                torch.einsum("nchw,c->nhw", (x - y).square(), head).mean(dim=(1, 2))
                for x, y, head in zip(features_a, features_b, self.heads, strict=True)
            ]
        )
        return distance.sum(dim=0).reshape(lead)

    def features(self, images_NHWC: Tensor) -> list[Tensor]:
        """The tapped layers' features [N, C, h, w], each pixel's of length one."""
        x = ((images_NHWC + 1) / 2 - self.mean) / self.std
        x = rearrange(x, "n h w c -> n c h w")
        tapped = []
        for layer, conv in zip(self.layers, self.convs, strict=True):
            if layer.pool:
                x = F.max_pool2d(x, layer.pool, stride=2)
            x = F.relu(conv(x))
            if layer.tap:
                # Where all features are 0 the norm's gradient is 0, and that of a square root would not be a number.
                tapped.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return tapped
