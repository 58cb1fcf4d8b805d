"""What a mirrored world does to labels: left and right change, and so do actions, poses, cameras and their calibration."""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roadcast.data.actions import ACTIONS
from roadcast.errors import UserError

_SIDE = re.compile("left|right", re.IGNORECASE)


def mirrored_actions(actions_BFA: Tensor, names: tuple[str, ...]) -> Tensor:
    """Actions of the mirrored world: signs as in ACTIONS."""
    signs = [ACTIONS[name].mirror for name in names]
    return actions_BFA * torch.tensor(signs, dtype=actions_BFA.dtype, device=actions_BFA.device)


def mirrored_poses(pose_BF7: Tensor) -> Tensor:
    """Poses of the mirrored world: t' = Y t and R' = Y R Y with Y = diag(1, -1, 1), so y and the turns about x and z change sign."""
    return pose_BF7 * pose_BF7.new_tensor([1, -1, 1, 1, -1, 1, -1])


def counterparts(cameras: tuple[str, ...]) -> list[int]:
    """For each camera the place of the one on the other side, by its name: "left" for "right" and back; itself if neither.

    Raises `UserError` for a camera whose counterpart is missing.
    """
    places = []
    for name in cameras:
        other = _SIDE.sub(_other_side, name)
        if other not in cameras:
            raise UserError(
                f"augment.flip: camera {name!r} has no counterpart {other!r} among {', '.join(cameras)}; "
                "ingest both, or leave flip out"
            )
        places.append(cameras.index(other))
    return places


def mirrored_calibration(calibration: dict[str, Any], matrix_33: np.ndarray) -> dict[str, Any]:
    """Calibration by camera in the mirrored world, whose pixels were moved by `matrix_33` (of negative determinant).

    A camera is its counterpart's mirror image: K' = M K S and T' = Y T S, with S = diag(-1, 1, 1) of its x and Y = diag(1, -1, 1)
    of the ego's y. K' has positive focal lengths and T' is rigid again. What has no intrinsics is a LiDAR or a radar, whose
    readings are mirrored at its own y: S = Y.
    """
    cameras = tuple(calibration)
    out = {}
    for name, place in zip(cameras, counterparts(cameras), strict=True):
        entry = dict(calibration[cameras[place]])
        if "intrinsics" in entry:
            k = matrix_33 @ np.array(entry["intrinsics"], np.float64) @ np.diag((-1.0, 1, 1))
            entry["intrinsics"] = k.tolist()
        if "to_ego" in entry:
            own = (-1.0, 1, 1, 1) if "intrinsics" in entry else (1.0, -1, 1, 1)
            to_ego = np.diag((1.0, -1, 1, 1)) @ np.array(entry["to_ego"], np.float64) @ np.diag(own)
            entry["to_ego"] = to_ego.tolist()
        if len(entry.get("distortion", ())) > 3:
            distortion = list(entry["distortion"])
            distortion[3] = -distortion[3]
            entry["distortion"] = distortion
        out[name] = entry
    return out


def _other_side(match: re.Match[str]) -> str:
    text = match.group()
    other = "right" if text.lower() == "left" else "left"
    return other.upper() if text.isupper() else other.capitalize() if text[0].isupper() else other
