"""Worlds as rows of a few tensors: how they are laid out, gathered, put back and looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from roadcast.flow.driving import Drive


class Rows(NamedTuple):
    """What worlds carry from frame to frame in tensors, a row each: their drive, and the last commands [B, window - 1, A]."""

    drive: Drive
    actions_BFA: Tensor
    known_BFA: Tensor


@dataclass
class Slot:
    """What a world carries besides: its noise, how many frames it has made, and the uncertainty when it was last looked at."""

    noise: torch.Generator
    frame: int = 0
    uncertainty: float | None = None

    def copy(self) -> "Slot":
        """The same, to go on from independently."""
        noise = torch.Generator()
        noise.set_state(self.noise.get_state())
        return Slot(noise, self.frame, self.uncertainty)


class Snapshot(NamedTuple):
    """All that decides a world's future."""

    rows: Rows
    slot: Slot


def axis(x: Tensor) -> int:
    """Which axis the rows are: of keys, values and their scales [U, 2, B, P, M, S, K] the third, else the first."""
    return 2 if x.ndim == 7 else 0


def sized(x: Tensor, rows: int) -> list[int]:
    """The shape of `x`, but with so many rows."""
    shape = list(x.shape)
    shape[axis(x)] = rows
    return shape


def empty(like: Rows, rows: int) -> Rows:
    """Zeros for so many rows."""
    return pytree.tree_map_only(Tensor, lambda x: x.new_zeros(sized(x, rows)), like)


def first(rows: Rows, count: int) -> Rows:
    """The memory of the first rows of each tensor, laid out densely as `count` rows: for scratch space of several sizes."""

    def cut(x: Tensor) -> Tensor:
        shape = sized(x, count)
        return x.view(-1)[: torch.Size(shape).numel()].view(shape)

    return pytree.tree_map_only(Tensor, cut, rows)


def take(rows: Rows, numbers: Sequence[int]) -> Rows:
    """A copy of the rows of these numbers, which may repeat."""
    index = torch.tensor(list(numbers), device=rows.actions_BFA.device)
    return pytree.tree_map_only(Tensor, lambda x: x.index_select(axis(x), index), rows)


def put(rows: Rows, numbers: Sequence[int], others: Rows) -> None:
    """Make the rows of these numbers the first ones of `others`, in place."""
    index = torch.tensor(list(numbers), device=rows.actions_BFA.device)
    for ours, theirs in zip(leaves(rows), leaves(others), strict=True):
        ours.index_copy_(axis(ours), index, theirs.narrow(axis(theirs), 0, len(numbers)))


def leaves(tree) -> list[Tensor]:
    """The tensors of a state, in their order."""
    return [x for x in pytree.tree_leaves(tree) if isinstance(x, Tensor)]


def finite(drive: Drive) -> list[bool]:
    """Which rows have finite numbers alone in their newest latents and in their decoder's past."""
    tensors = (drive.rollout.finished_BTHWC, *drive.decoder)
    return torch.stack([x.isfinite().flatten(1).all(1) for x in tensors]).all(0).tolist()


def same(rows: Mapping[int, list[Tensor]], others: Mapping[int, list[Tensor]]) -> bool:
    """Whether all tensors of all rows are equal, bit for bit."""
    return all(torch.equal(x, y) for row in rows for x, y in zip(rows[row], others[row], strict=True))
