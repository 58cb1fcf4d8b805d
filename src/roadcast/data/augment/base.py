"""What an augmentation looks like, and the names under which recipes find them."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.chance import Chance
from roadcast.errors import UserError

PHASES = ("geometry", "scene", "lens", "sensor", "link")
"""The way of light to the disk, and the order in which augmentations act."""


@dataclass(frozen=True)
class Shot:
    """What is known about N clips besides their pixels, which are uint8 [N, F, V, C, H, W].

    t_ns_NF      int64 on the pixels' device
    horizon_N    float64, row of the horizon in pixels; zoom_N  float64, how much larger things are than in the reel
    depth_NFVHW  m along the optical axis, inf for the sky, on the pixels' device; or None
    """

    t_ns_NF: Tensor
    horizon_N: np.ndarray
    zoom_N: np.ndarray
    depth_NFVHW: Tensor | None

    def of(self, which: np.ndarray) -> "Shot":
        """Some of the clips; `which` holds their places."""
        place = torch.from_numpy(which).to(self.t_ns_NF.device)
        depth = None if self.depth_NFVHW is None else self.depth_NFVHW.index_select(0, place)
        return Shot(self.t_ns_NF.index_select(0, place), self.horizon_N[which], self.zoom_N[which], depth)


class Augmentation:
    """One kind of change, drawn once a clip for all its frames and views.

    phase    one of PHASES; `meaning`  what `amount` says, a number from 0 (nothing) to `limit`
    always   whether every clip is changed, by more or less; otherwise `amount` is the share of clips that are
    """

    name: ClassVar[str]
    phase: ClassVar[str]
    meaning: ClassVar[str] = "share of the clips"
    limit: ClassVar[float] = 1.0
    always: ClassVar[bool] = False

    def __init__(self, amount: float):
        if not 0 <= amount <= self.limit:
            raise UserError(f"augment.{self.name} = {amount}: give a number from 0 to {self.limit:g} ({self.meaning})")
        self.amount = float(amount)

    def chosen(self, chance: Chance) -> np.ndarray:
        """Which clips are changed, bool [N]."""
        if self.always:
            return np.full(len(chance), self.amount > 0)
        return chance.uniform("chosen") < self.amount


class Warp(Augmentation):
    """An augmentation that moves pixels. A matrix of negative determinant mirrors, and so mirrors the labels."""

    phase = "geometry"

    def matrices(self, chance: Chance, height: int, width: int) -> np.ndarray:
        """What takes a pixel (u, v, 1) to where it goes, float64 [N, 3, 3], affine; (0, 0) is the centre of the first pixel."""
        raise NotImplementedError


class Paint(Augmentation):
    """An augmentation that changes colours in place and leaves geometry and labels alone."""

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        """The changed pixels, uint8 of the same shape; the argument may be overwritten.

        Sums of whole numbers below 2^24 are exact in float32 in any order: used where a kernel may choose the order, so that
        a clip comes out the same in every batch.
        """
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Augmentation)
AUGMENTATIONS: dict[str, type[Augmentation]] = {}


def register_augmentation(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: recipes find the augmentation under `name`. Within a phase the first registered acts first."""

    def register(cls: type[Kind]) -> type[Kind]:
        assert cls.phase in PHASES
        cls.name = name
        AUGMENTATIONS[name] = cls
        return cls

    return register


def build_augmentations(amounts: dict[str, float]) -> list[Augmentation]:
    """Those of `amounts` by name that do anything, in the order they act; `UserError` for an unknown name or amount."""
    for name in sorted(amounts.keys() - AUGMENTATIONS.keys()):
        near = difflib.get_close_matches(name, AUGMENTATIONS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(AUGMENTATIONS)}"
        raise UserError(f"augmentation {name!r} is unknown; {hint}")
    built = [cls(amounts[name]) for name, cls in AUGMENTATIONS.items() if name in amounts]
    return sorted((x for x in built if x.amount > 0), key=lambda x: PHASES.index(x.phase))


def per_clip(values: np.ndarray, pixels: Tensor) -> Tensor:
    """Values [N] or [N, C] as float32 on the device of `pixels` [N, F, V, C, H, W], shaped to be multiplied with them."""
    shape = (len(values), 1, 1, 1 if values.ndim == 1 else values.shape[1], 1, 1)
    return torch.from_numpy(values.astype(np.float32)).to(pixels.device, non_blocking=True).view(shape)


def to_bytes(values: Tensor) -> Tensor:
    """float32 rounded and clamped to uint8; `values` is overwritten."""
    return values.add_(0.5).clamp_(0, 255.5).to(torch.uint8)
