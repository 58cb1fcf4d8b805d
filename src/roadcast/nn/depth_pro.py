"""Depth Pro (Bochkovskii et al. 2024, "Depth Pro: Sharp Monocular Metric Depth in Less Than a Second") in plain torch.

One vision transformer sees the picture at three sizes in overlapping patches, another sees all of it; a decoder fuses the five maps
of features into inverse depth for a camera of focal length 1, and a third transformer says how wide the camera sees (section 3,
figure 3). Modules are named as in the released checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .vit import ViT

PYRAMID = ((5, 0.25), (3, 0.5))
"""Patches across, and the share of one that its neighbour overlaps, of the picture at full and at half size."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; those of the released one are the defaults.

    width, depth, heads   of each vision transformer
    side, patch           pixels a side of what a transformer sees, and of its tokens; the picture has 4 `side` pixels a side
    taps                  blocks of the patch encoder whose features are decoded too
    channels              of the maps of features: the taps', then those at full, half and quarter size
    features              channels of the decoder
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    side: int = 384
    patch: int = 16
    taps: tuple[int, int] = (5, 11)
    channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    features: int = 256

    def vit(self) -> ViT:
        return ViT(self.width, self.depth, self.heads, self.side, self.patch)


def enlarging(inside: int, outside: int, times: int, between: int | None = None) -> nn.Sequential:
    """A projection to `between` channels (None: `outside`), then `times` doublings of the sides."""
    between = between or outside
    doublings = [nn.ConvTranspose2d(outside if n else between, outside, 2, stride=2, bias=False) for n in range(times)]
    return nn.Sequential(nn.Conv2d(inside, between, 1, bias=False), *doublings)


def split(x_BCHW: Tensor, across: int, side: int) -> Tensor:
    """Evenly spread patches [(across across B), C, side, side] that cover the picture."""
    stride = (x_BCHW.shape[-1] - side) // (across - 1)
    patches = x_BCHW.unfold(2, side, stride).unfold(3, side, stride)
    return rearrange(patches, "b c i j h w -> (i j b) c h w")


def merge(x_NCHW: Tensor, across: int, overlap: float) -> Tensor:
    """Undo `split` on maps of features: of what two neighbours share each gives the half that is nearer to its middle."""
    cut = round(x_NCHW.shape[-1] * overlap / 2)
    grid = rearrange(x_NCHW, "(i j b) c h w -> i j b c h w", i=across, j=across)
    return joined([joined(list(row), cut, dim=-1) for row in grid], cut, dim=-2)


def joined(pieces: Sequence[Tensor], cut: int, dim: int) -> Tensor:
    """The pieces end to end, `cut` taken off wherever two meet."""
    last, size = len(pieces) - 1, pieces[0].shape[dim]
    starts, ends = [cut * (n > 0) for n in range(last + 1)], [size - cut * (n < last) for n in range(last + 1)]
    return torch.cat([p.narrow(dim, a, b - a) for p, a, b in zip(pieces, starts, ends, strict=True)], dim)


class Encoder(nn.Module):
    """The picture to five maps of features, from the finest to the coarsest."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        width, (tapped, full, half, quarter), features = shape.width, shape.channels, shape.features
        self.patch_encoder, self.image_encoder = shape.vit(), shape.vit()
        self.upsample_latent0 = enlarging(width, features, 3, between=tapped)
        self.upsample_latent1 = enlarging(width, tapped, 2)
        self.upsample0 = enlarging(width, full, 1)
        self.upsample1 = enlarging(width, half, 1)
        self.upsample2 = enlarging(width, quarter, 1)
        self.upsample_lowres = nn.ConvTranspose2d(width, quarter, 2, stride=2)
        self.fuse_lowres = nn.Conv2d(2 * quarter, quarter, 1)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        sizes = [x_BCHW, *(F.interpolate(x_BCHW, scale_factor=s, mode="bilinear") for s in (0.5, 0.25))]
        patches = [split(x, across, self.shape.side) for x, (across, _) in zip(sizes, PYRAMID)]
        parts = [len(p) for p in (*patches, sizes[2])]
        tap0, tap1, last = (
            y.split(parts) for y in self.patch_encoder(torch.cat([*patches, sizes[2]]), self.shape.taps)
        )
        full, half = PYRAMID
        coarse = torch.cat([self.upsample2(last[2]), self.upsample_lowres(self.image_encoder(sizes[2])[0])], dim=1)
        return [
            self.upsample_latent0(merge(tap0[0], *full)),
            self.upsample_latent1(merge(tap1[0], *full)),
            self.upsample0(merge(last[0], *full)),
            self.upsample1(merge(last[1], *half)),
            self.fuse_lowres(coarse),
        ]


class Residual(nn.Module):
    """`x + f(x)`, f of two convolutions behind ReLUs (He et al. 2016)."""

    def __init__(self, features: int):
        super().__init__()
        layers = [(nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)) for _ in range(2)]
        self.residual = nn.Sequential(*layers[0], *layers[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


class Fusion(nn.Module):
    """What comes from below and the features of this level as one map; `lowest`: nothing comes from below, `finest`: not enlarged."""

    def __init__(self, features: int, lowest: bool = False, finest: bool = False):
        super().__init__()
        self.resnet1 = None if lowest else Residual(features)
        self.resnet2 = Residual(features)
        self.deconv = None if finest else nn.ConvTranspose2d(features, features, 2, stride=2, bias=False)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, below: Tensor | None = None) -> Tensor:
        if self.resnet1 is not None:
            x = self.resnet1(x) + below
        x = self.resnet2(x)
        return self.out_conv(x if self.deconv is None else self.deconv(x))


class Decoder(nn.Module):
    """Five maps of features to one, after DPT (Ranftl et al. 2021, section 3)."""

    def __init__(self, shape: Shape):
        super().__init__()
        features = shape.features
        convs = [nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in shape.channels]
        self.convs = nn.ModuleList([nn.Identity(), *convs])
        self.fusions = nn.ModuleList(Fusion(features, lowest=n == 4, finest=n == 0) for n in range(5))

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The finest map of features, and the coarsest before it is fused."""
        levels = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        x = self.fusions[-1](levels[-1])
        for fusion, level in zip(self.fusions[-2::-1], levels[-2::-1]):
            x = fusion(level, x)
        return x, levels[-1]


class FieldOfView(nn.Module):
    """How many degrees the picture is wide, [B, 1, 1, 1]."""

    def __init__(self, shape: Shape):
        super().__init__()
        f = shape.features
        vit = shape.vit()
        self.encoder = nn.Sequential(vit, nn.Linear(shape.width, f // 2))
        self.downsample = nn.Sequential(nn.Conv2d(f, f // 2, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Sequential(
            nn.Conv2d(f // 2, f // 4, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(f // 4, f // 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(f // 8, 1, vit.grid // 4),
        )  # fmt: skip

    def forward(self, x_BCHW: Tensor, coarse: Tensor) -> Tensor:
        vit, linear = self.encoder
        seen = vit(F.interpolate(x_BCHW, scale_factor=0.25, mode="bilinear"))[0]
        return self.head(linear(seen.movedim(1, -1)).movedim(-1, 1) + self.downsample(coarse))


class DepthPro(nn.Module):
    """Pictures to depth in metres."""

    def __init__(self, shape: Shape = Shape()):
        super().__init__()
        self.side, features = 4 * shape.side, shape.features
        self.encoder, self.decoder, self.fov = Encoder(shape), Decoder(shape), FieldOfView(shape)
        self.head = nn.Sequential(
            nn.Conv2d(features, features // 2, 3, padding=1),
            nn.ConvTranspose2d(features // 2, features // 2, 2, stride=2),
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.eval().requires_grad_(False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], shape: Shape = Shape()) -> "DepthPro":
        """The network with the tensors of the released checkpoint (depth_pro.pt), frozen; names that it does not use are left alone.

        Raises: ValueError that names the first tensor that is missing or of another shape.
        """
        with torch.device("meta"):
            self = cls(shape)
        own = self.state_dict()
        for name, tensor in own.items():
            given = tuple(tensors[name].shape) if name in tensors else "absent"
            if given != tuple(tensor.shape):
                raise ValueError(f"weight {name} of Depth Pro is {given} where {tuple(tensor.shape)} is needed")
        self.load_state_dict({name: tensors[name].float() for name in own}, assign=True)
        return self.requires_grad_(False)

    def canonical(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical inverse depth C [B, 1, H, W] and the horizontal field of view [B, 1, 1, 1] in degrees.

        x_BCHW  pictures in [-1, 1], `side` pixels a side
        """
        finest, coarse = self.decoder(self.encoder(x_BCHW))
        return self.head(finest), self.fov(x_BCHW, coarse)

    def forward(self, images: Tensor, focal: float | None = None) -> Tensor:
        """Depth [..., H, W] in m of images [..., H, W, 3] in [-1, 1]: `1 / d = C w / f`, within 0.1 mm and 10 km (eq. 1).

        focal  f in pixels of the images; where it is None, `f = w / (2 tan(fov / 2))` of the network's own guess
        """
        lead, (height, width) = images.shape[:-3], images.shape[-3:-1]
        x = rearrange(images.reshape(-1, height, width, 3), "b h w c -> b c h w")
        inverse, fov = self.canonical(bilinear(x, (self.side, self.side)))
        zoom = width / focal if focal is not None else 2 * torch.tan(torch.deg2rad(fov) / 2)
        inverse = bilinear(inverse * zoom, (height, width)).clamp(1e-4, 1e4)
        return inverse.reciprocal().reshape(*lead, height, width)


def bilinear(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """The maps at another size, unsmoothed as Depth Pro was trained with; a map of the right size is left alone."""
    if tuple(x_BCHW.shape[-2:]) == size:
        return x_BCHW
    return F.interpolate(x_BCHW, size, mode="bilinear", align_corners=False)
