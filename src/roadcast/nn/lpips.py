"""Learned perceptual distance of images (LPIPS; Zhang et al. 2018) in plain torch, with weights that the caller brings.

A trunk trained to name things sees both images; its features, each pixel's scaled to length one, are compared layer by layer
under weights that were fitted to what people find alike. The layers of the three trunks are those of Krizhevsky 2014 (AlexNet),
of Simonyan & Zisserman 2015 (VGG16) and of Iandola et al. 2016 (SqueezeNet, version 1.1), without their classifiers.
"""

import re
from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor, nn

from roadcast.nn.squeezenet import Fire

# What ImageNet's trunks were trained on: mean and deviation of RGB in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def alex() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def vgg() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for channels, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
    return nn.Sequential(*layers)


def squeeze() -> nn.Sequential:
    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(),
        pool(), Fire(64, 16, 64), Fire(128, 16, 64),
        pool(), Fire(128, 32, 128), Fire(256, 32, 128),
        pool(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip


TRUNKS = {
    "alex": (alex, (64, 192, 384, 256, 256), (1, 4, 7, 9, 11)),
    "vgg": (vgg, (64, 128, 256, 512, 512), (3, 8, 15, 22, 29)),
    "squeeze": (squeeze, (64, 128, 256, 384, 384, 512, 512), (1, 4, 7, 9, 10, 11, 12)),
}
"""Of each trunk the layers, numbered as torchvision numbers them; how many channels are compared; and after which layers."""


class LPIPS(nn.Module):
    """`d(a, b) = sum_l mean_hw sum_c w_lc (a_lhwc - b_lhwc)^2`, features of length one (Zhang et al. 2018, eq. 1)."""

    smallest = 32  # pixels a side, below which nothing is left to pool
    mean: Tensor
    std: Tensor

    def __init__(self, trunk: str):
        super().__init__()
        if trunk not in TRUNKS:
            raise ValueError(f"trunk {trunk!r} is unknown; choose one of {', '.join(TRUNKS)}")
        layers, channels, self.compared = TRUNKS[trunk]
        self.name = trunk
        self.trunk = layers()
        self.heads = nn.ParameterList(torch.ones(count) for count in channels)
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LPIPS":
        """The distance with public weights, frozen.

        tensors  `lin<l>.model.1.weight` [1, C, 1, 1], the heads as the PyPI package `lpips` names them, and the trunk's as that
                 package does, `net.slice<s>.<n>...`, or as torchvision does, `features.<n>...`; other names are left alone
        Raises: ValueError that names the first tensor that is missing or of another shape.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            if match := re.fullmatch(r"(?:net\.slice\d+|features)\.(\d+\..+)", name):
                found[f"trunk.{match[1].replace('expand1x1', 'narrow').replace('expand3x3', 'wide')}"] = tensor
            elif match := re.fullmatch(r"lin(\d+)\.model\.1\.weight", name):
                found[f"heads.{match[1]}"] = tensor.flatten()
        if "trunk.0.weight" not in found:
            raise ValueError("no tensor net.slice1.0.weight or features.0.weight: these are not the weights of LPIPS")
        squeezed = any("squeeze" in name for name in found)
        self = cls("squeeze" if squeezed else "alex" if found["trunk.0.weight"].shape[-1] == 11 else "vgg")
        for name, tensor in self.state_dict().items():
            given = tuple(found[name].shape) if name in found else "absent"
            if given != tuple(tensor.shape):
                raise ValueError(f"weight {name} of LPIPS is {given} where {tuple(tensor.shape)} is needed")
        self.load_state_dict({name: found[name] for name in self.state_dict()})
        return self.requires_grad_(False).eval()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance [...] of images [..., H, W, 3] in [-1, 1], 0 when equal; `smallest` pixels a side at least.

        Raises: ValueError when the shapes differ.
        """
        if a.shape != b.shape or a.shape[-1] != 3:
            raise ValueError(f"images must have one shape [..., H, W, 3], got {tuple(a.shape)} and {tuple(b.shape)}")
        features_a, features_b = (self.features(x.reshape(-1, *x.shape[-3:])) for x in (a, b))
        return self.between(features_a, features_b).reshape(a.shape[:-3])

    def between(self, features_a: list[Tensor], features_b: list[Tensor]) -> Tensor:
        """The distance [N] of images whose `features` are known: the true ones' are of use more than once."""
        by_layer = [
            torch.einsum("nchw,c->nhw", (x - y).square(), head).mean(dim=(1, 2))
            for x, y, head in zip(features_a, features_b, self.heads, strict=True)
        ]
        return torch.stack(by_layer).sum(dim=0)

    def features(self, images_NHWC: Tensor) -> list[Tensor]:
        """The compared layers' features [N, C, h, w], each pixel's of length one."""
        x = rearrange(((images_NHWC + 1) / 2 - self.mean) / self.std, "n h w c -> n c h w")
        kept = []
        for number, layer in enumerate(self.trunk):
            x = layer(x)
            if number in self.compared:
                # Where all features are 0 the norm's gradient is 0, and that of a square root would not be a number.
                kept.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return kept
