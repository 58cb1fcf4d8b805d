"""Fog: what is far away fades into the light of the air."""

import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

_FARTHEST, _STEP = 400.0, 0.25
_CAMERA_HEIGHT, _ROOF_HEIGHT, _FOCAL, _UNSURE = 1.4, 12.0, 1.2, 0.1


@register_augmentation("fog")
class Fog(Paint):
    """x' = t x + (1 - t) A with t = exp(-3 d / visibility), visibility 30 to 150 m (Koschmieder 1924; 5 % contrast is left at it).

    d is the depth where it is given. Otherwise it is guessed from the row: flat ground 1.4 m below the camera under the horizon,
    things up to 12 m above it over the horizon, with a focal length of 1.2 heights.
    """

    phase = "scene"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        visibility = 30 * 5.0 ** chance.uniform("visibility")
        x = pixels_NFVCHW.float()
        light = airlight(pixels_NFVCHW, chance)
        if shot.depth_NFVHW is None:
            rows = depth_of_rows(x.shape[-2], shot.horizon_N, shot.zoom_N)
            through = np.exp(-3 * rows / visibility[:, None]).astype(np.float32)
            through = torch.from_numpy(through).to(x.device).view(len(x), 1, 1, 1, -1, 1)
        else:
            through = _by_depth(shot.depth_NFVHW, visibility)[:, :, :, None]
        return to_bytes(x.sub_(light).mul_(through).add_(light))


def airlight(pixels_NFVCHW: Tensor, chance: Chance) -> Tensor:
    """The light of the air [N, 1, 1, 3, 1, 1]: grey, a little cold or warm, bright by day as the first frame is and dim by night."""
    first = pixels_NFVCHW[:, 0]
    mean = first.sum(dim=(1, 2, 3, 4), dtype=torch.int64).float() / first[0].numel()
    tint = chance.uniform("tint", low=-0.04, high=0.04)[:, None] * (1, 0, -1)
    bright = per_clip(chance.uniform("light", low=0.95, high=1.15)[:, None] * (1 + tint), pixels_NFVCHW)
    return mean.view(-1, 1, 1, 1, 1, 1).mul(1.2).add_(60).clamp_(max=215).mul(bright)


def depth_of_rows(height: int, horizon_N: np.ndarray, zoom_N: np.ndarray) -> np.ndarray:
    """A plausible depth of every row, float64 [N, H] in m; nothing is sharp at the horizon, whose row is a guess."""
    below = np.arange(height) - horizon_N[:, None]
    blurred = np.hypot(below, _UNSURE * height)
    share_above = np.clip(0.25 - 2.5 * below / height, 0, 1)
    tall = _CAMERA_HEIGHT + (_ROOF_HEIGHT - _CAMERA_HEIGHT) * share_above
    return np.minimum(_FARTHEST, _FOCAL * height * zoom_N[:, None] * tall / blurred)


def _by_depth(depth_NFVHW: Tensor, visibility_N: np.ndarray) -> Tensor:
    """t of every pixel, by a table in steps of 0.25 m up to 400 m: an exponential of each would round by the batch's size."""
    steps = int(_FARTHEST / _STEP) + 1
    table = np.exp(-3 * _STEP * np.arange(steps) / visibility_N[:, None]).astype(np.float32)
    place = (depth_NFVHW / _STEP).nan_to_num_(steps, steps).clamp_(0, steps - 1).to(torch.int32)
    place += torch.arange(len(table), dtype=torch.int32, device=place.device).view(-1, 1, 1, 1, 1) * steps
    return torch.from_numpy(table).to(place.device).view(-1).index_select(0, place.view(-1)).view(place.shape)
