"""A check that no network is asked about: how fast the car turns in imagined video, by visual odometry, against real video."""

from dataclasses import dataclass

import numpy as np

from roadcast.data.clip import Clip
from roadcast.data.reel.store import Reel
from roadcast.data.signals.odometry import odometry_of
from roadcast.evaluation.metrics.statistics import Estimate, correlation_estimate, mean_estimate, ratio_estimate


@dataclass(frozen=True)
class OdometryCheck:
    """Yaw rates by visual odometry (data/signals/odometry.py), positive left; intervals are over clips.

    clips      compared
    guessed    some camera is not calibrated, and was taken to see 90 degrees: rates are wrong by a factor, correlations are not
    found      [model | real] share of frames whose motion was found
    agreement  correlation of the imagined with the real yaw rate, frame by frame; None where one never changes or none is known
    error      their mean absolute difference, rad/s; None where no frame has both
    size       mean size of the real yaw rate, rad/s: the error of not turning at all
    command    [model | real] correlation with the command that steers, given `lag` frames before
    """

    clips: int
    guessed: bool
    found: dict[str, Estimate]
    agreement: Estimate | None
    error: Estimate | None
    size: Estimate | None
    command: dict[str, Estimate | None]


def yaw_rates(reel: Reel, clip: Clip, videos_BFHWC: np.ndarray) -> tuple[np.ndarray, bool]:
    """The yaw rate into every frame but the first, rad/s, [B, F - 1], NaN where unknown; and whether a camera had to be guessed.

    videos_BFHWC  uint8, the last F frames of the clips or what was imagined in their place
    """
    frames, camera, guessed, rows = videos_BFHWC.shape[1], reel.cameras[0], False, []
    for video, index, t_ns in zip(videos_BFHWC, clip.video_B.tolist(), clip.t_ns_BF.numpy(), strict=True):
        lens = (reel.videos[index].calibration or {}).get(camera, {})
        found = odometry_of(t_ns[-frames:], video, lens.get("intrinsics"), lens.get("distortion"), lens.get("to_ego"))
        rows.append(found.yaw_rate[1:])
        guessed |= found.guessed
    return np.stack(rows), guessed


def odometry_check(
    model_NH: np.ndarray,
    real_NH: np.ndarray,
    guessed: bool,
    steering: tuple[np.ndarray, np.ndarray] | None,
    lag: int,
) -> OdometryCheck:
    """Compare the yaw rates of imagined and real clips with each other, and with the command `lag` frames before.

    steering  the command [N, H], and where it is known; None where there is none
    """
    systems = {"model": model_NH, "real": real_NH}
    both = np.isfinite(model_NH) & np.isfinite(real_NH)

    def mean_size(rate_NH: np.ndarray) -> Estimate | None:
        return (
            ratio_estimate(np.where(both, np.abs(rate_NH), 0.0).sum(axis=1), both.sum(axis=1)) if both.any() else None
        )

    return OdometryCheck(
        clips=len(model_NH),
        guessed=guessed,
        found={name: mean_estimate(np.isfinite(yaw).mean(axis=1)) for name, yaw in systems.items()},
        agreement=correlation_estimate(model_NH, real_NH, both),
        error=mean_size(model_NH - real_NH),
        size=mean_size(real_NH),
        command={name: led_correlation(*steering, yaw, lag) for name, yaw in systems.items()} if steering else {},
    )


def led_correlation(command_NH: np.ndarray, known_NH: np.ndarray, response_NH: np.ndarray, lag: int) -> Estimate | None:
    """Correlation of a response with the command `lag` frames before it, where both are known."""
    frames = command_NH.shape[1] - lag
    response = response_NH[:, lag:]
    return correlation_estimate(command_NH[:, :frames], response, known_NH[:, :frames] & np.isfinite(response))
