"""Linear probes: how much of a signal, such as steering or speed, lies open in features of clips."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from roadcast.data.loading.loader import read_clips
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.statistics import (
    Estimate,
    correlation_estimate,
    determination_estimate,
    ratio_estimate,
)
from roadcast.perception.encoder import VideoEncoder, pooled

Features = Callable[[Tensor], np.ndarray]
"""uint8 [B, F, H, W, 3] to float32 [B, D], a row a clip."""

PENALTIES = 10.0 ** np.arange(-4, 5)
CHOOSING = 0.2
"""The part of the training rows, the last of them, that the penalty is chosen on."""


@dataclass(frozen=True)
class Probe:
    """What a linear map of features says of one signal on held-out clips.

    r2           `1 - sum (y - p)^2 / sum (y - mean y)^2`: 1 is all of it, 0 no better than the mean, below 0 worse
    correlation  of y and p
    predicted_N  p
    Both None where y is constant, and the second also where p is.
    """

    r2: Estimate | None
    correlation: Estimate | None
    predicted_N: np.ndarray


def probe(
    train_ND: np.ndarray, signals_N: Mapping[str, np.ndarray], test_MD: np.ndarray, truths_M: Mapping[str, np.ndarray]
) -> dict[str, Probe]:
    """Fit signals, by name, on the training clips, and judge on others, with 95 % bootstrap intervals over clips."""
    told_SM1 = ridge(train_ND, np.stack([*signals_N.values()], axis=1), test_MD).T[..., None]
    return {
        name: Probe(
            determination_estimate(told_M1, truths_M[name][:, None]),
            correlation_estimate(told_M1, truths_M[name][:, None]),
            told_M1[:, 0],
        )
        for name, told_M1 in zip(signals_N, told_SM1, strict=True)
    }


def gain(ours: Probe, theirs: Probe, truth_N: np.ndarray) -> Estimate:
    """R^2 of one probe less that of another on the same clips, `sum (e_theirs^2 - e_ours^2) / sum (y - mean y)^2`, drawn in pairs."""
    e_ours, e_theirs = (np.square(found.predicted_N - truth_N) for found in (ours, theirs))
    return ratio_estimate(e_theirs - e_ours, np.square(truth_N - truth_N.mean()))


def ridge(train_ND: np.ndarray, signals_NS: np.ndarray, test_MD: np.ndarray) -> np.ndarray:
    """Ridge regression, `p = k (K + lambda I)^-1 y` with `K = X X^T` (Hoerl & Kennard 1970, in its dual form), [M, S].

    Features are brought to mean 0 and deviation 1, signals to mean 0, by the training rows. `lambda`, in units of the mean
    of K's diagonal, is for each signal that of PENALTIES which does best on the last fifth of the training rows, fitted on
    the others; then all rows are fitted. Rows in the order of recordings make those other recordings.
    """
    fitted = len(train_ND) - max(1, round(CHOOSING * len(train_ND)))
    tried_PMS = _solutions(train_ND[:fitted], signals_NS[:fitted], train_ND[fitted:])
    errors_PS = np.square(tried_PMS - signals_NS[fitted:]).mean(axis=1)
    best_S = errors_PS.argmin(axis=0)
    made_PMS = _solutions(train_ND, signals_NS, test_MD)
    return made_PMS[best_S, :, np.arange(signals_NS.shape[1])].T


def _solutions(train_ND: np.ndarray, signals_NS: np.ndarray, test_MD: np.ndarray) -> np.ndarray:
    """What ridge predicts for the test rows with each of PENALTIES, [P, M, S]: one decomposition serves all."""
    mean, std = train_ND.mean(axis=0, dtype=np.float64), train_ND.std(axis=0, dtype=np.float64)
    x, k = ((rows - mean) / np.maximum(std, 1e-6) for rows in (train_ND, test_MD))
    offset = signals_NS.mean(axis=0)
    values_N, vectors_NN = np.linalg.eigh(x @ x.T)
    scale = max(float(values_N.mean()), 1e-12)
    y_NS, k_MN = vectors_NN.T @ (signals_NS - offset), k @ x.T @ vectors_NN
    return np.stack([k_MN @ (y_NS / (values_N.clip(0) + p * scale)[:, None]) + offset for p in PENALTIES])


def pixel_features(frames_BFHWC: Tensor, height: int = 16, width: int = 32) -> np.ndarray:
    """All pixels of all frames of a clip, reduced by area to height x width, in a row."""
    x = rearrange(frames_BFHWC.float() / 255, "b f h w c -> (b f) c h w")
    x = F.interpolate(x, (height, width), mode="area")
    return rearrange(x, "(b f) c h w -> b (f c h w)", b=len(frames_BFHWC)).numpy()


def encoder_features(encoder: VideoEncoder, rows: int = 1, columns: int = 1) -> Features:
    """The encoder's features: at each time the mean over each field of a raster on the picture, in a row."""

    @torch.no_grad()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        frames = frames_BFHWC.to(encoder.norm.weight.device)
        return pooled(encoder(frames), encoder.grid(frames), rows, columns).float().cpu().numpy()

    return features


def places_of(reel: Reel, splits: Collection[str], frames: int, every: int) -> list[tuple[int, int]]:
    """(recording, first frame) of the clips of `frames` frames that begin every `every` frames in the recordings of some splits."""
    return [
        (number, first)
        for number, video in enumerate(reel.videos)
        if video.split in splits
        for first in range(video.first, video.first + video.frames - frames + 1, every)
    ]


def features_of(
    reel: Reel, places: list[tuple[int, int]], frames: int, features: Mapping[str, Features], batch: int = 32
) -> dict[str, np.ndarray]:
    """Each kind of features of the clips at `places`, [N, D]."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in features}
    for first in range(0, len(places), batch):
        clip = read_clips(reel, places[first : first + batch], frames, ())
        for name, of in features.items():
            rows[name].append(of(clip.frames_BFHWC))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def signal_of(reel: Reel, places: list[tuple[int, int]], frames: int, name: str) -> np.ndarray:
    """The mean of a signal over each clip, float64 [N]; NaN where it is unknown."""
    return np.array([reel.signals[name][first : first + frames].mean(dtype=np.float64) for _, first in places])
