"""SqueezeNet 1.0 (Iandola et al. 2016), with the weights of its authors: what a picture shows, in 512 numbers."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOL_BEFORE = (0, 3, 7)
"""Fire modules with a pooling before them."""
SIDE = 227
MEAN_BGR = (104.0, 117.0, 123.0)


class Fire(nn.Module):
    """Few channels, then 1x1 and 3x3 beside each other (section 3.2)."""

    def __init__(self, inside: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.narrow = nn.Conv2d(squeezed, expanded, 1)
        self.wide = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x_BCHW))
        return torch.cat([F.relu(self.narrow(x)), F.relu(self.wide(x))], dim=1)


class SqueezeNet(nn.Module):
    """Pictures to 512 features and 1,000 logits (ImageNet)."""

    mean: Tensor

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 96, 7, stride=2)
        channels = [96, *(2 * expanded for _, expanded in FIRES)]
        self.fires = nn.ModuleList(Fire(inside, *shape) for inside, shape in zip(channels, FIRES))
        self.last = nn.Conv2d(512, 1000, 1)
        self.register_buffer("mean", torch.tensor(MEAN_BGR), persistent=False)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "SqueezeNet":
        """The network with the released weights, which come in the order of the layers.

        Raises: ValueError that names the first weight of another shape, or says how many there are.
        """
        self = cls()
        own = self.state_dict()
        if len(own) != len(tensors):
            raise ValueError(f"{len(tensors)} weights where SqueezeNet 1.0 has {len(own)}")
        for (name, tensor), (theirs, value) in zip(own.items(), tensors.items(), strict=True):
            if tensor.shape != value.shape:
                raise ValueError(
                    f"weight {theirs} is {tuple(value.shape)} where SqueezeNet's {name} is {tuple(tensor.shape)}"
                )
        self.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
        return self

    def features(self, x_BHWC: Tensor) -> Tensor:
        """The last Fire module's output [B, 512, h, w] of pictures RGB in [0, 255], SIDE pixels a side."""
        x = (x_BHWC.flip(-1) - self.mean).movedim(-1, 1)
        x = F.relu(self.first(x))
        for number, fire in enumerate(self.fires):
            if number in POOL_BEFORE:
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            x = fire(x)
        return x

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Logits [B, 1000] of pictures RGB in [0, 255], SIDE pixels a side."""
        return F.relu(self.last(self.features(x_BHWC))).mean(dim=(2, 3))
