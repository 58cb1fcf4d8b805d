"""The vision transformer of DINOv2 (Oquab et al. 2024; Dosovitskiy et al. 2021), its modules named as its released weights are."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Attention(nn.Module):
    """Every token attends to every token."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x_BLD), "b l (three n k) -> three b n l k", three=3, n=self.heads)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b n l k -> b l (n k)"))


class FeedForward(nn.Module):
    """`W_2 gelu(W_1 x + b_1) + b_2`."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_BLD)))


class LayerScale(nn.Module):
    """`gamma * x`, one weight a channel (Touvron et al. 2021, eq. 4)."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.gamma * x_BLD


class Block(nn.Module):
    """`y = x + ls1 Attention(norm x)`, then `y + ls2 FeedForward(norm y)`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), FeedForward(width)
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x = x_BLD + self.ls1(self.attn(self.norm1(x_BLD)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class ViT(nn.Module):
    """Square pictures of `side` pixels to a grid of features, one for each `patch` x `patch` pixels."""

    def __init__(self, width: int, depth: int, heads: int, side: int, patch: int):
        super().__init__()
        self.grid = side // patch
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + self.grid**2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x_BCHW: Tensor, taps: tuple[int, ...] = ()) -> list[Tensor]:
        """Features [B, D, grid, grid]: as they leave each block of `taps` (rising), and last the normalised ones of all blocks."""
        x = rearrange(self.patch_embed["proj"](x_BCHW), "b d h w -> b (h w) d")
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        leaving = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                leaving.append(x)
        leaving.append(self.norm(x))
        return [rearrange(y[:, 1:], "b (h w) d -> b d h w", h=self.grid) for y in leaving]
