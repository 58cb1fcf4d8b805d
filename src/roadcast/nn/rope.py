"""Axial rotary positions (Su et al. 2021, RoFormer, eq. 15), each axis given its own share of the head.

A head of K channels over n axes is cut into n equal shares of K / n channels; share a is turned by the position on
axis a. Time attention passes one axis (t), space attention two (h, w), full 3D attention three (t, h, w).
"""

import torch
from torch import Tensor


def rope_tables(positions: Tensor, head_dim: int, base: float = 100.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every angle: `theta[l, a, i] = position[l, a] * base ** (-i / (K / 2n))`.

    positions  float [..., L, n], in frames or latent cells
    returns    cos and sin, float32 [..., L, K / 2]
    The base is 100, not 10000: a driving window is tens of cells wide, not thousands of words.
    """
    axes = positions.shape[-1]
    share = head_dim // 2 // axes
    assert share * 2 * axes == head_dim, f"head_dim {head_dim} does not divide over {axes} axes"
    frequency = base ** (-torch.arange(share, device=positions.device, dtype=torch.float32) / share)
    angle = (positions.float()[..., None] * frequency).flatten(-2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """`x` [..., L, K] with each channel pair (i, i + K / 2) turned by its angle; tables broadcast over leading axes."""
    cos, sin = (table.to(x.dtype) for table in tables)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def grid_positions(height: int, width: int, extra: int = 0, device: torch.device | None = None) -> Tensor:
    """Positions [height * width + extra, 2] of a latent grid in row-major order, then `extra` tokens at the origin."""
    h, w = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    grid = torch.stack([h, w], dim=-1).reshape(-1, 2).float()
    return torch.cat([grid, grid.new_zeros(extra, 2)])
