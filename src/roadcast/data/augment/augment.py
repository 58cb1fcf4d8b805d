"""Augmentation of whole batches of clips, on any device: one draw a clip, for all its frames, views and labels."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, Warp, build_augmentations
from roadcast.data.augment.chance import Chance
from roadcast.data.augment.mirror import counterparts, mirrored_actions, mirrored_calibration, mirrored_poses
from roadcast.data.augment.warp import warped
from roadcast.data.clip import Clip
from roadcast.errors import UserError

_BLOCK = 1 << 21
"""Values of pixels worked on at once on a CPU, so that they stay in its cache; other devices take the batch whole."""


class Augment:
    """Changes clips by the augmentations in `amounts` (name: number, see docs/augmentation.md); labels stay true.

    What happens to a clip is a function of (seed, its key) alone, not of its batch, the worker or the rank.
    actions  names of the clip's actions; cameras  names of its views, needed to flip several
    horizon  row of the horizon in the reel's pictures, as a share of the height; fog needs it where no depth is given
    Raises `UserError` for an unknown name, with the nearest one, and for a number out of range.
    """

    def __init__(
        self, amounts: dict[str, float], seed: int,
        *, actions: tuple[str, ...] = (), cameras: tuple[str, ...] = (), horizon: float = 0.45,
    ):  # fmt: skip
        self.seed, self.actions, self.cameras, self.horizon = seed, tuple(actions), tuple(cameras), horizon
        parts = build_augmentations(amounts)
        self.warps = [part for part in parts if isinstance(part, Warp)]
        self.paints = [part for part in parts if isinstance(part, Paint)]

    @torch.no_grad()
    def __call__(self, clip: Clip, depth_BFVHW: Tensor | None = None) -> Clip:
        """The clip with its pixels and labels changed, on its own device; the one given stays as it is.

        depth_BFVHW  depth of the clip's pictures in m, for fog; V is 1 where the clip has no views
        Raises `UserError` for a clip that holds latents, which cannot be changed as pixels are, unless there is nothing to be
        done; and where several views are to be flipped of which `cameras` does not tell the sides.
        """
        if not (self.warps or self.paints):
            return clip
        if clip.z_BTHWC is not None or clip.frames_BFHWC is None:
            raise UserError("augment: these clips are latents; leave augment empty, or train on frames")
        views_BFVHWC = clip.frames_BFHWC[:, :, None] if clip.views_BFVHWC is None else clip.views_BFVHWC
        assert views_BFVHWC.dtype == torch.uint8, views_BFVHWC.dtype
        assert clip.key_B is not None, "a clip that was drawn has a key"
        key_B = clip.key_B.cpu().numpy()
        height, width = views_BFVHWC.shape[3:5]
        matrix_B33 = self._matrices(key_B, height, width)
        mirrored_B = np.linalg.det(matrix_B33) < 0
        device = views_BFVHWC.device
        horizon_B = matrix_B33[:, 1, 1] * (self.horizon * height - 0.5) + matrix_B33[:, 1, 2]
        if depth_BFVHW is not None:
            depth_BFVHW = warped(self._sides(depth_BFVHW, mirrored_B), matrix_B33)
        shot = Shot(clip.t_ns_BF, horizon_B, matrix_B33[:, 1, 1], depth_BFVHW)
        views_BFVHWC, out = self._sides(views_BFVHWC, mirrored_B), torch.empty_like(views_BFVHWC)
        block = len(out) if device.type != "cpu" else max(1, _BLOCK * len(out) // max(1, out.numel()))
        with torch.autocast(device.type, enabled=False):
            for first in range(0, len(out), block):
                some = slice(first, first + block)
                pixels = warped(_planar(views_BFVHWC[some]), matrix_B33[some])
                part_shot = shot.of(np.arange(len(out))[some])
                for part in self.paints:
                    pixels = _painted(part, pixels, part_shot, Chance(self.seed, key_B[some], part.name))
                _interleave(pixels, out[some])
        views_BFVHWC = out
        mirrored = torch.from_numpy(mirrored_B).to(device)[:, None, None]
        changes: dict[str, Any] = {"frames_BFHWC": views_BFVHWC[:, :, 0]}
        if clip.views_BFVHWC is not None:
            changes["views_BFVHWC"] = views_BFVHWC
        if mirrored_B.any():
            assert len(self.actions) == clip.actions_BFA.shape[-1], (self.actions, clip.actions_BFA.shape)
            turned = mirrored_actions(clip.actions_BFA, self.actions)
            changes["actions_BFA"] = torch.where(mirrored, turned, clip.actions_BFA)
            if clip.pose_BF7 is not None:
                changes["pose_BF7"] = torch.where(mirrored, mirrored_poses(clip.pose_BF7), clip.pose_BF7)
        return dataclasses.replace(clip, **changes)

    def geometry(self, key: int, height: int, width: int) -> np.ndarray:
        """M [3, 3] that takes a pixel (u, v, 1) of the clip with this key to where it went, in every view.

        K' = M K are its intrinsics in the world as it is; where M mirrors, K' has a negative focal length.
        """
        return self._matrices(np.array([key], np.int64), height, width)[0]

    def calibration(self, key: int, calibration: dict[str, Any], height: int, width: int) -> dict[str, Any]:
        """Calibration (a recording's, in the reel's pixels) for the clip with this key, in the world its labels tell of.

        Where the clip is flipped that is the mirrored world, and a camera or sensor is the mirror image of its counterpart.
        """
        matrix = self.geometry(key, height, width)
        if np.linalg.det(matrix) < 0:
            return mirrored_calibration(calibration, matrix)
        return {
            name: entry | {"intrinsics": (matrix @ np.array(entry["intrinsics"], np.float64)).tolist()}
            if "intrinsics" in entry
            else entry
            for name, entry in calibration.items()
        }

    def depth(self, key_B: Tensor, depth_BFVHW: Tensor) -> Tensor:
        """Depth maps moved as the pictures of the clips with these keys are: each pixel from the nearest."""
        keys = key_B.cpu().numpy()
        matrix_B33 = self._matrices(keys, *depth_BFVHW.shape[-2:])
        return warped(self._sides(depth_BFVHW, np.linalg.det(matrix_B33) < 0), matrix_B33)

    def _matrices(self, key_B: np.ndarray, height: int, width: int) -> np.ndarray:
        total = np.tile(np.eye(3), (len(key_B), 1, 1))
        for part in self.warps:
            chance = Chance(self.seed, key_B, part.name)
            which = np.flatnonzero(part.chosen(chance))
            total[which] = part.matrices(chance.of(which), height, width) @ total[which]
        return total

    def _sides(self, x_BFV: Tensor, mirrored_B: np.ndarray) -> Tensor:
        """The views with left and right changed in the clips that are mirrored."""
        views = x_BFV.shape[2]
        if views == 1 or not mirrored_B.any():
            return x_BFV
        if len(self.cameras) != views:
            raise UserError(f"augment.flip: the clips have {views} views; name as many cameras ({self.cameras})")
        order = np.where(mirrored_B[:, None], counterparts(self.cameras), np.arange(views))
        place = torch.from_numpy(order).to(x_BFV.device)[:, None, :]
        clip = torch.arange(len(x_BFV), device=x_BFV.device)[:, None, None]
        frame = torch.arange(x_BFV.shape[1], device=x_BFV.device)[None, :, None]
        return x_BFV[clip, frame, place]


def _painted(part: Paint, pixels: Tensor, shot: Shot, chance: Chance) -> Tensor:
    which = np.flatnonzero(part.chosen(chance))
    if not len(which):
        return pixels
    if len(which) == len(pixels):
        return part.paint(pixels, shot, chance)
    place = torch.from_numpy(which).to(pixels.device)
    return pixels.index_copy_(0, place, part.paint(pixels.index_select(0, place), shot.of(which), chance.of(which)))


def _planar(x_BFVHWC: Tensor) -> Tensor:
    out = x_BFVHWC.new_empty(*x_BFVHWC.shape[:3], 3, *x_BFVHWC.shape[3:5])
    for c in range(3):
        out[:, :, :, c] = x_BFVHWC[..., c]
    return out


def _interleave(x_BFVCHW: Tensor, out_BFVHWC: Tensor) -> None:
    for c in range(3):
        out_BFVHWC[..., c] = x_BFVCHW[:, :, :, c]
