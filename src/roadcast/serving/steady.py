"""Layers that give a row the same bits however many rows there are.

What computes them is chosen by the shape, and adds up in another order where that shape is thin: matrix products of a handful of rows
(one a frame: the embeddings, and what sets the norms), and convolutions over one small picture, which PyTorch gives to a kernel of
their own. So what is thin is filled up with zeros. By several threads MKL also divides the rows among them, and adds up as the division
falls; `MKL_CBWR` holds it to one order (Intel oneMKL Developer Guide, Conditional Numerical Reproducibility). That all this is enough is
measured, not promised: whoever relies on it measures it (serving/pool.py).
"""

import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("MKL_CBWR", "AUTO")
"""MKL reads it once, at the process's first matrix product."""
ROWS = 32
SMALL = 20480
"""The most numbers of one picture that PyTorch keeps from oneDNN (aten/src/ATen/native/Convolution.cpp, `use_mkldnn`)."""


class SteadyLinear(nn.Linear):
    """A linear layer over ROWS rows at least."""

    def forward(self, input: Tensor) -> Tensor:
        rows = input.shape[:-1].numel()
        if rows >= ROWS:
            return super().forward(input)
        filled = F.pad(input.flatten(0, -2), (0, 0, 0, ROWS - rows))
        return super().forward(filled)[:rows].view(*input.shape[:-1], self.out_features)


class SteadyConv2d(nn.Conv2d):
    """A convolution over two pictures at least, where they are small."""

    def forward(self, input: Tensor) -> Tensor:
        if len(input) > 1 or input.numel() > SMALL:
            return super().forward(input)
        twice = torch.cat([input, input]).contiguous(memory_format=torch.channels_last)
        return super().forward(twice)[:1]


STEADY: dict[type, type] = {nn.Linear: SteadyLinear, nn.Conv2d: SteadyConv2d}


def steady(network: nn.Module) -> None:
    """Make the layers of `network` steady, in place: the same weights by the same names, and results equal up to rounding."""
    for module in network.modules():
        module.__class__ = STEADY.get(type(module), type(module))
