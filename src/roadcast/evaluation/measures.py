"""What is measured of every frame that a system shows: each measure gives one or more metrics of the catalogue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from roadcast.evaluation.metrics.flow import motion, of_each
from roadcast.evaluation.metrics.temporal import flicker
from roadcast.evaluation.systems import Scene, Seen
from roadcast.nn.image_quality import ms_ssim, psnr, ssim, weights_that_fit

Rows = Sequence[np.ndarray]
"""Values [B, horizon], an array a metric."""


@dataclass(frozen=True)
class Measure:
    """A function of what all systems show of some clips, and what it gives.

    names     of metrics in the catalogue
    of        for each system the values of each metric, in that order
    identity  of the network it looks with, for the protocol; "" where there is none
    """

    names: tuple[str, ...]
    of: Callable[[Scene], dict[str, Rows]]
    identity: str = ""


def each(measure: Callable[[Seen], Rows]) -> Callable[[Scene], dict[str, Rows]]:
    """The same function of every system."""
    return lambda scene: {system: measure(seen) for system, seen in scene.systems.items()}


def likeness(compared_BHHWC: Tensor, true_BHHWC: Tensor) -> list[np.ndarray]:
    """PSNR, SSIM and MS-SSIM of every frame against the true one, uint8 in, three arrays [B, H]."""
    weights = weights_that_fit(*true_BHHWC.shape[2:4])
    rows = []
    for a, b in zip(compared_BHHWC, true_BHHWC, strict=True):
        a, b = a.float() / 255, b.float() / 255
        rows.append(torch.stack([psnr(a, b), ssim(a, b), ms_ssim(a, b, weights=weights)]))
    return list(torch.stack(rows, dim=1).cpu().numpy())


def sharpness(frames_BFHWC: Tensor) -> np.ndarray:
    """Mean absolute difference of neighbouring pixels in grey levels, across and down, [B, F]."""
    x = frames_BFHWC.float()
    across, down = x.diff(dim=-2).abs().mean(dim=(-3, -2, -1)), x.diff(dim=-3).abs().mean(dim=(-3, -2, -1))
    return ((across + down) / 2).cpu().numpy()


def movement(video_BFHWC: Tensor) -> list[np.ndarray]:
    """Warp error, length of the flow and its change of every frame but the first two, three arrays [B, F - 2]."""
    moved = of_each(motion, video_BFHWC.cpu().numpy())
    return [np.stack([getattr(m, name)[1:] for m in moved]) for name in ("warp_error", "magnitude", "jitter")]


USUAL = (
    Measure(("psnr", "ssim", "ms_ssim"), each(lambda seen: likeness(seen.compared_BHHWC, seen.true_BHHWC))),
    Measure(("warp_error", "motion", "jitter"), each(lambda seen: movement(seen.after(2)))),
    Measure(("flicker",), each(lambda seen: [np.stack(of_each(flicker, seen.after(2).cpu().numpy()))])),
    Measure(("sharpness",), each(lambda seen: [sharpness(seen.shown_BHHWC)])),
)
"""Measures that need no network."""
