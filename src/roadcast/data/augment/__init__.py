"""Augmentations by name: importing this package registers those that come with roadcast."""

from roadcast.data.augment import blur, colour, drop, fog, jpeg, lens, noise, rain, warp
from roadcast.data.augment.augment import Augment
from roadcast.data.augment.base import AUGMENTATIONS, Paint, Shot, Warp, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

__all__ = [
    "AUGMENTATIONS", "Augment", "Chance", "Paint", "Shot", "Warp", "blur", "colour", "drop", "fog", "jpeg", "lens", "noise",
    "per_clip", "rain", "register_augmentation", "to_bytes", "warp",
]  # fmt: skip
