"""Does a metric rise with what is wrong? Every metric of clips that are spoilt more and more, and of real clips against real."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from metrics_clips import Clips
from metrics_inputs import weights
from metrics_parity import kept
from torch import Tensor

from roadcast.evaluation.extractors import Extractor, fitted, frame_extractor, jepa_extractor
from roadcast.evaluation.metrics.flow import motion, of_each
from roadcast.evaluation.metrics.frechet import frechet_of_rows, kernel_distance
from roadcast.nn import i3d
from roadcast.nn.image_quality import psnr, ssim
from roadcast.nn.lpips import LPIPS

BLIND = {
    ("frame Frechet", "shuffle"): "it sees frames alone",
    ("frame kernel", "shuffle"): "it sees frames alone",
    ("warp error", "blur"): "what is smooth is easy to explain",
    ("warp error", "wrong steering"): "a wrong drive is as consistent as a right one",
}
"""What a metric is not meant to see, and why."""


@dataclass(frozen=True)
class Row:
    """A metric's values: `floor` of real video against itself, and by distortion at rising strength; larger is worse in all of them."""

    floor: dict[str, float]
    values: dict[str, list[float]]


Paired = Callable[[Tensor, Tensor], Tensor]  # two videos [F, H, W, 3] in [0, 255] to a value a frame


def lpips_by_formula() -> Paired:
    """LPIPS on AlexNet with weights by formula: what it sees, it sees by the architecture alone."""
    network = LPIPS.from_tensors(weights(kept()["lpips_alex"]["layout"]))
    return lambda a, b: network(a / 127.5 - 1, b / 127.5 - 1)


def i3d_by_formula() -> Extractor:
    """I3D with weights by formula. It is no FVD, whose weights are public but not at hand."""
    network = i3d.I3D.from_tensors(weights(kept()["i3d"]["layout"]))

    @torch.inference_mode()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        few = frames_BFHWC.split(2)
        return torch.cat([network(fitted(x, i3d.SIDE, "squash") / 127.5 - 1) for x in few]).numpy()

    return Extractor("I3D, random weights", "by formula", features)


def extractors(frame_weights: Path | None, world: Path | None) -> dict[str, Extractor]:
    """By the name that the table has."""
    found = {"I3D*": i3d_by_formula()}
    if frame_weights:
        found["frame"] = frame_extractor(frame_weights)
    if world:
        found["JEPA"] = jepa_extractor(world)
    return found


def rows(sets: Sequence[Clips], networks: dict[str, Extractor]) -> dict[str, Row]:
    """Every metric of every set of clips."""
    table: dict[str, Row] = {}
    lpips = lpips_by_formula()
    paired: dict[str, Paired] = {
        "-PSNR": lambda a, b: -psnr(a / 255, b / 255),
        "1 - SSIM": lambda a, b: 1 - ssim(a / 255, b / 255),
        "LPIPS*": lpips,
    }

    def put(metric: str, how: str, floor: float, values: list[float]) -> None:
        row = table.setdefault(metric, Row({}, {}))
        row.floor[how], row.values[how] = floor, values

    for clips in sets:
        seen = {name: extractor.features(tensor(clips.true)) for name, extractor in networks.items()}
        for how, by_strength in clips.spoilt.items():
            for name, metric in paired.items():
                worst = [compared(metric, made, clips.true) for made in by_strength]
                put(name, how, compared(metric, clips.true, clips.true), worst)
            put("warp error", how, warp_error(clips.true), [warp_error(made) for made in by_strength])
            for name, extractor in networks.items():
                true = seen[name]
                made = [extractor.features(tensor(videos)) for videos in by_strength]
                for title, distance in (("Frechet", frechet_of_rows), ("kernel", kernel_distance)):
                    put(f"{name} {title}", how, distance(true, true), [distance(true, m) for m in made])
            print(how, flush=True)
    return table


def tensor(videos: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(videos))


@torch.inference_mode()
def compared(metric: Paired, made: np.ndarray, true: np.ndarray) -> float:
    """The mean over all frames."""
    pairs = zip(tensor(made).float(), tensor(true).float(), strict=True)
    return float(torch.cat([metric(a, b) for a, b in pairs]).mean())


def warp_error(videos: np.ndarray) -> float:
    return float(np.mean([m.warp_error.mean() for m in of_each(motion, videos)]))


def rises(row: Row, how: str) -> bool:
    """Whether the metric lies above its floor from the first strength on, and higher with every strength."""
    values = [row.floor[how], *row.values[how]]
    return all(a < b for a, b in pairwise(values))


def faults(table: dict[str, Row]) -> list[str]:
    """Where a metric does not rise though it is meant to."""
    cells = [(metric, how) for metric, row in table.items() for how in row.values if (metric, how) not in BLIND]
    return [f"{metric}: {how}" for metric, how in cells if not rises(table[metric], how)]
