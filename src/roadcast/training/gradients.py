"""What the gradients of a step say about each block of a network, for the log."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate

from roadcast.dynamics.model import Block
from roadcast.nn.feed_forward import SwiGLU
from roadcast.parallel.reduce import local
from roadcast.tokenizer.model import ResidualBlock

VANISHING = 1e-8  # of the root mean square of all gradients; float32 resolves 6e-8


@torch.no_grad()
def statistics(model: nn.Module, scale: float = 1.0) -> dict[str, float]:
    """Figures of the gradients as they are, by block: every transformer or residual block, and what is in none by its first name.

    scale           the loss scale they carry
    grad/NAME       their L2 norm, without the scale
    vanishing/NAME  share of them with `|g| < 1e-8 rms`, the rms being of all gradients of the model
    dead/NAME       share of a feed-forward's hidden units to whose weights not one gradient came

    Parameters may be shards (DTensors): then every process of their mesh must call this, and all get the same.
    """
    blocks = gradients_by_block(model)
    gradients = [gradient for block in blocks.values() for gradient in block]
    if not gradients:
        return {}
    squares = reduced(gradients, [local(g).double().square().sum() for g in gradients])
    smallest = VANISHING * (squares.sum() / sum(g.numel() for g in gradients)).sqrt()
    vanishing = reduced(gradients, [(local(g).abs() < smallest).sum().double() for g in gradients])
    dead = {
        name: dead_units(unit)
        for name, unit in model.named_modules()
        if isinstance(unit, SwiGLU) and has_gradient(unit)
    }

    sizes = [len(block) for block in blocks.values()]
    norms = [part.sum().sqrt() / scale for part in squares.split(sizes)]
    counts = [
        part.sum() / sum(g.numel() for g in block) for part, block in zip(vanishing.split(sizes), blocks.values())
    ]
    names = [f"{what}/{name}" for what in ("grad", "vanishing") for name in blocks]
    names += [f"dead/{name.removesuffix('.feed_forward')}" for name in dead]
    return dict(zip(names, torch.stack([*norms, *counts, *dead.values()]).tolist(), strict=True))


def gradients_by_block(model: nn.Module) -> dict[str, list[Tensor]]:
    """All gradients there are, by the block that their parameters are in, or else by the first part of their names."""
    inside = [name for name, module in model.named_modules() if isinstance(module, Block | ResidualBlock)]
    found: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            block = next((block for block in inside if name.startswith(f"{block}.")), name.partition(".")[0])
            found.setdefault(block, []).append(parameter.grad)
    return found


def reduced(gradients: Iterable[Tensor], values: list[Tensor]) -> Tensor:
    """One sum a gradient over all its shards, given those of this process's: one exchange for all that are sharded alike."""
    totals = torch.stack(values)
    alike: dict[tuple[DeviceMesh, tuple[bool, ...]], list[int]] = {}
    for i, gradient in enumerate(gradients):
        if isinstance(gradient, DTensor):
            sharded = tuple(placement.is_shard() for placement in gradient.placements)
            alike.setdefault((gradient.device_mesh, sharded), []).append(i)
    for (mesh, sharded), rows in alike.items():
        placements = [Partial() if shard else Replicate() for shard in sharded]
        totals[rows] = DTensor.from_local(totals[rows], mesh, placements, run_check=False).full_tensor()
    return totals


def has_gradient(unit: SwiGLU) -> bool:
    return unit.inner.weight.grad is not None


def dead_units(unit: SwiGLU) -> Tensor:
    """The share of hidden units, each a row of either half of the inner map, whose gradient is zero throughout."""
    assert unit.inner.weight.grad is not None
    largest = unit.inner.weight.grad.abs().amax(dim=1)
    largest = largest.full_tensor() if isinstance(largest, DTensor) else largest
    return (largest.unflatten(0, (2, -1)) == 0).all(dim=0).double().mean()
