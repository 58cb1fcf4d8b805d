"""How far everything in a picture is: a small network of our own that comes with roadcast, or Depth Pro from a file."""

import math
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.errors import UserError
from roadcast.files import sha256
from roadcast.nn.depth_pro import DepthPro
from roadcast.safetensors import load_tensors

WEIGHTS = Path(__file__).with_name("weights") / "depth_toyroad.safetensors"
"""Of `DepthNet`, trained on the built-in world by benchmarks/depth.py."""
NEAREST, FARTHEST = 1.0, 160.0
"""Of the network's answers, m; the sky is as far as it goes."""
FOCAL = 0.6
"""Focal length, as a share of the picture's width, of the camera that depth is told for."""


class Conv(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, inside: int, outside: int, stride: int = 1):
        super().__init__(
            nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
        )


class DepthNet(nn.Module):
    """Depth of single pictures by a U-Net (Ronneberger et al. 2015) of 0.2 million weights.

    Pictures of any size are brought to 128 pixels of width, so what it says does not hang on their size. It is told for a camera of
    focal length `FOCAL` times the width; one with a share f has depth f / FOCAL times that (Bochkovskii et al. 2024, eq. 1).
    """

    width = 128
    down_channels, up_channels = (16, 32, 64, 64), (48, 32, 16)

    def __init__(self):
        super().__init__()
        before = (3, *self.down_channels)
        self.down = nn.ModuleList(
            nn.Sequential(Conv(a, b, stride=2), Conv(b, b)) for a, b in zip(before, self.down_channels)
        )
        below, skips = (self.down_channels[-1], *self.up_channels), self.down_channels[-2::-1]
        self.up = nn.ModuleList(Conv(a + skip, b) for a, skip, b in zip(below, skips, self.up_channels))
        self.last = nn.Sequential(Conv(self.up_channels[-1] + 3, 8), nn.Conv2d(8, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Depth [..., H, W] along the optical axis in m, float32, of frames [..., H, W, 3] in [-1, 1]."""
        lead, (height, width) = frames.shape[:-3], frames.shape[-3:-1]
        x = rearrange(frames.float().reshape(-1, height, width, 3), "n h w c -> n c h w")
        inner = (16 * max(1, round(height * self.width / width / 16)), self.width)
        log_depth = math.log(NEAREST) + math.log(FARTHEST / NEAREST) * self.share(resized(x, inner))
        return resized(log_depth, (height, width)).exp().reshape(*lead, height, width)

    def share(self, x_NCHW: Tensor) -> Tensor:
        """Where between the nearest and the farthest a pixel's log depth is, [N, 1, H, W] in (0, 1); sides multiples of 16."""
        levels = [x_NCHW]
        for block in self.down:
            levels.append(block(levels[-1]))
        y = levels.pop()
        for block in [*self.up, self.last]:
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            y = block(torch.cat([y, levels.pop()], dim=1))
        return torch.sigmoid(y)


@dataclass(frozen=True)
class DepthModel:
    """A network that tells depth.

    identity  its name and the SHA-256 of its weights: two scores compare only where it is equal
    network   frames [..., H, W, 3] in [-1, 1] to depth [..., H, W] in m; frozen, and gradients pass through it to the frames
    """

    identity: str
    network: nn.Module

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Depth [..., H, W] in m, float32, of uint8 frames [..., H, W, 3], picture by picture."""
        device = next(self.network.parameters()).device
        pictures = frames.reshape(-1, *frames.shape[-3:])
        depth = [self.network(picture.to(device).float() / 127.5 - 1).cpu() for picture in pictures]
        return torch.stack(depth).reshape(frames.shape[:-1])


def load_depth(weights: Path | None = None, device: str | torch.device = "cpu") -> DepthModel:
    """The network that comes with roadcast, or Depth Pro.

    weights  None, or the released checkpoint of Depth Pro (github.com/apple/ml-depth-pro): depth_pro.pt, or its tensors as .safetensors
    Raises: `UserError` for a file that cannot be read or is not Depth Pro's.
    """
    if weights is None:
        with torch.device(device):
            network = DepthNet()
        network.load_state_dict(load_tensors(WEIGHTS))  # float16 on the disk, copied into float32
        name, weights = "depthnet-toyroad", WEIGHTS
    else:
        network, name = _depth_pro(Path(weights)).to(device), "depth-pro"
    return DepthModel(f"{name}/{sha256(weights)}", network.eval().requires_grad_(False))


def _depth_pro(path: Path) -> DepthPro:
    if not path.exists():
        raise UserError(f"{path}: no such file; github.com/apple/ml-depth-pro says where depth_pro.pt is published")
    try:
        if path.suffix == ".safetensors":
            return DepthPro.from_tensors(load_tensors(path))
        return DepthPro.from_tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except (OSError, ValueError, RuntimeError, TypeError, UnpicklingError) as error:
        raise UserError(
            f"{path}: is not Depth Pro's checkpoint ({str(error).splitlines()[0]}); fetch depth_pro.pt anew"
        ) from None


def resized(x_NCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, smoothed where pixels are left out; the same tensor where the size is right."""
    if tuple(x_NCHW.shape[-2:]) == size:
        return x_NCHW
    return F.interpolate(x_NCHW, size, mode="bilinear", align_corners=False, antialias=True)
