"""The camera's taste: exposure, contrast, tone, colour temperature, saturation and hue."""

import math

import numpy as np
from torch import Tensor

from roadcast.data.augment.base import Paint, Shot, per_clip, register_augmentation, to_bytes
from roadcast.data.augment.chance import Chance

_LUMA = np.array([0.299, 0.587, 0.114])


@register_augmentation("colour")
class Colour(Paint):
    """For v in [0, 1]: v' = g_c (0.5 + k (v - 0.5)), v'' = v' + a v' (1 - v') clamped, then saturation and hue mix the channels.

    g_c is exposure (up to half a stop) times temperature (up to 15 % of red against blue), k contrast (0.6 to 1.4). The tone curve
    lifts or lowers middle tones as v^gamma does, a = 0.5 like gamma = 0.68 and a = -0.5 like 1.42, and leaves black and white alone.
    Saturation is 0.5 to 1.5, hue turns by up to 15 degrees about grey: all at strength 1, in proportion below.
    """

    phase = "sensor"
    meaning = "strength of the change, of every clip"
    always = True

    def paint(self, pixels_NFVCHW: Tensor, shot: Shot, chance: Chance) -> Tensor:
        exposure, contrast, temperature, tone, saturation, hue = (
            self.amount * chance.uniform("taste", 6, low=-1, high=1).T
        )
        gain_NC = np.exp2(0.5 * exposure)[:, None] * (1 + 0.15 * temperature[:, None] * (1, 0, -1))
        k = (1 + 0.4 * contrast)[:, None]
        x = pixels_NFVCHW.float()
        x.mul_(per_clip(gain_NC * k / 255, x)).add_(per_clip(gain_NC * 0.5 * (1 - k), x)).clamp_(0, 1)
        bend = per_clip(255 * 0.5 * tone, x)
        x.mul_((1 - x).mul_(bend).add_(255)).clamp_(0, 255)
        return to_bytes(_mixed(x, _mixing(1 + 0.5 * saturation, math.radians(15) * hue)))


def _mixing(saturation_N: np.ndarray, hue_N: np.ndarray) -> np.ndarray:
    """Matrices [N, 3, 3] on RGB that keep grey: the rest is scaled by the saturation and turned about the grey axis."""
    cos, sin = np.cos(hue_N)[:, None, None], np.sin(hue_N)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = cos * np.eye(3) + sin * cross + (1 - cos) / 3
    grey = np.broadcast_to(_LUMA, (3, 3))
    return grey + saturation_N[:, None, None] * (turn @ (np.eye(3) - grey))


def _mixed(x_NFVCHW: Tensor, matrix_N33: np.ndarray) -> Tensor:
    """Channels mixed, written out: a kernel that picks its own order of summing would round by the batch's size."""
    weights = [per_clip(matrix_N33[:, :, c], x_NFVCHW) for c in range(3)]
    out = x_NFVCHW[:, :, :, :1] * weights[0]
    for c in (1, 2):
        out.add_(x_NFVCHW[:, :, :, c : c + 1] * weights[c])
    return out
