"""Eight-bit floating point in training, by torchao."""

import torch
from torch import nn
from torchao.float8 import Float8LinearConfig, convert_to_float8_training

from roadcast.dynamics.model import Block
from roadcast.errors import UserError

MULTIPLE = 16
"""Rows and columns of a matrix must be multiples of this, or the hardware has no product for it."""


def apply_fp8(model: nn.Module, device: torch.device) -> None:
    """Have the linear layers of transformer blocks compute in float8, forwards in e4m3 and backwards in e5m2, each tensor scaled by
    its largest value as it comes (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"); weights stay float32 and keep their names.

    Elsewhere than on a GPU the same rounding is emulated, which is slow, and there to see what it does to a loss.
    A model without blocks, the tokenizer, stays in bfloat16. Raises `UserError` for a GPU without such units.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        raise UserError(
            f"compute.precision = 'fp8': {torch.cuda.get_device_name(device)} has no units for it, Hopper and Ada have; use 'bfloat16'"
        )
    config = Float8LinearConfig(emulate=device.type != "cuda")
    for block in [part for part in model.modules() if isinstance(part, Block)]:
        convert_to_float8_training(block, config=config, module_filter_fn=fits)


def fits(layer: nn.Module, name: str) -> bool:
    """Whether a layer is one that float8 units can compute."""
    return isinstance(layer, nn.Linear) and layer.in_features % MULTIPLE == 0 and layer.out_features % MULTIPLE == 0
