"""Rain: streaks that fall through the picture as time goes on."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance
from roadcast.data.augment.fog import airlight

_DISTANCES = (2.0, 4.0, 8.0)
_SPEED, _FOCAL, _SHUTTER = 8.0, 1.2, 1 / 40
_SLANTS = tuple(np.linspace(-0.4, 0.4, 9))
_TALL, _SHIFT = 3, 4


@register_augmentation("rain")
class Rain(Paint):
    """Three sheets of drops 2, 4 and 8 m away that fall at 8 m/s, drawn by wind; each streak is one shutter time of 1 / 40 s long.

    A sheet moves by its speed times the time that has passed, so streaks go on from frame to frame at any rate. Light and contrast go
    down as under clouds: x' = h x + (1 - h) A / 2, h 0.75 to 0.95, A the light of the air, to which streaks are drawn.
    """

    phase = "scene"

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        n, frames, views, _, height, width = pixels_NFVCHW.shape
        cover = self._cover(chance, shot.t_ns_NF, views, height, width)
        opacity = chance.uniform("opacity", low=0.25, high=0.6)
        x = pixels_NFVCHW.float()
        light = airlight(pixels_NFVCHW, chance)
        haze = per_clip(chance.uniform("haze", low=0.75, high=0.95), x)
        x.mul_(haze).add_((1 - haze) * light * 0.5)
        alpha = cover.view(n, frames, views, 1, height, width).float().mul_(per_clip(opacity / 255, x))
        return to_bytes(x.add_((light - x).mul_(alpha)))

    def _cover(self, chance: Chance, t_ns_NF: Tensor, views: int, height: int, width: int) -> Tensor:
        """How much of every pixel drops cover, uint8 [N * F * V, H, W]."""
        device, frames = t_ns_NF.device, t_ns_NF.shape[1]
        slant = (chance.uniform("slant") * len(_SLANTS)).astype(np.int64)
        passed = (t_ns_NF - t_ns_NF[:, :1]).double().mul_(1e-9)[:, :, None]
        total = None
        for number, distance in enumerate(_DISTANCES):
            tile = _sheets(height, width, number, device)
            rows, columns = tile.shape[1] - height, tile.shape[2] - width
            fall = _SPEED * _FOCAL * height / distance
            start = chance.uniform(f"start {number}", views, 2) * (rows, columns)
            start = torch.from_numpy(start).to(device)[:, None]
            lean = torch.from_numpy(np.array(_SLANTS)[slant]).to(device)[:, None, None]
            top = (start[..., 0] - fall * passed).round().long() % rows
            left = (start[..., 1] - fall * lean * passed).round().long() % columns
            which = torch.from_numpy(slant).to(device)[:, None, None].expand(-1, frames, views)
            windows = tile.unfold(1, height, 1).unfold(2, width, 1)
            sheet = windows[which.flatten(), top.flatten(), left.flatten()]
            total = sheet if total is None else torch.maximum(total, sheet)
        assert total is not None
        return total


@lru_cache(maxsize=12)
def _sheets(height: int, width: int, number: int, device: torch.device) -> Tensor:
    """Sheet `number` at every slant, uint8 [S, 3 H + H, W + W]: 3 H x W that repeats, with one more picture at its end."""
    distance = _DISTANCES[number]
    rng = np.random.default_rng([7, number])
    count = int(10 * distance * _TALL)
    start = rng.uniform(0, 1, (count, 2)) * (width, _TALL * height)
    length = _SPEED * _FOCAL * height / distance * _SHUTTER * rng.uniform(0.7, 1.2, count)
    bright = rng.uniform(0.4, 1.0, count) * min(1.0, 1.6 / distance + 0.3)
    thick = max(1, round(0.012 * height / distance))
    sheets = np.zeros((len(_SLANTS), (_TALL + 1) * height, 2 * width), np.uint8)
    for sheet, slant in zip(sheets, _SLANTS, strict=True):
        for (x, y), long, light in zip(start, length, bright, strict=True):
            for dx in (-width, 0, width):
                for dy in (-_TALL * height, 0):
                    ends = np.array([(x + dx, y + dy), (x + dx + slant * long, y + dy + long)])
                    points = np.rint(ends * (1 << _SHIFT)).astype(int).tolist()
                    cv2.line(sheet, points[0], points[1], int(255 * light), thick, cv2.LINE_AA, _SHIFT)
        sheet[_TALL * height :], sheet[:, width:] = sheet[:height], sheet[:, :width]
    return torch.from_numpy(sheets).to(device)
