"""Multi-block masks: which cells of the picture a clip is seen through, and which are to be guessed."""

import torch
from torch import Tensor

ASPECT = (0.75, 1.5)
"""Least and largest height of a block over its width, both told in parts of the picture's."""


def multi_block_cells(
    batch: int, grid: tuple[int, int, int], blocks: int, scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The cells that are seen and those that are hidden, int64 [batch, S] each, of all cells of the grid, at all times alike.

    `blocks` blocks, each of the part `scale` of the picture, fall on every clip at random and hide what they cover
    (Bardes et al. 2024, section 3.2: 8 of 0.15, or 2 of 0.7). For even batches every clip is seen through as many cells,
    the `(1 - scale)^blocks` that independent blocks leave on average: one that blocks leave more of loses some at random, one
    that they leave fewer of gets some back.
    """
    _, rows, columns = grid

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, blocks, generator=generator)

    aspect = draw(*ASPECT)
    covered_BHW = torch.ones(batch, blocks, rows, columns, dtype=torch.bool)
    for size, part, axis in ((rows, scale * aspect, (-1, 1)), (columns, scale / aspect, (1, -1))):
        length = (part.sqrt() * size).round().clamp(1, size)
        first = (draw(0, 1) * (size - length + 1)).floor()
        place = torch.arange(size).view(axis)
        first, length = first[..., None, None], length[..., None, None]
        covered_BHW = covered_BHW & (first <= place) & (place < first + length)
    covered_BS = covered_BHW.any(dim=1).flatten(1)
    order_BS = (covered_BS + torch.rand(covered_BS.shape, generator=generator)).argsort(dim=1)
    seen = max(1, round(rows * columns * (1 - scale) ** blocks))
    return order_BS[:, :seen], order_BS[:, seen:]
