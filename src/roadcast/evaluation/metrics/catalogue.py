"""The metrics of the evaluation: name, version, unit, and what each means."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One column of the results; `version` is raised whenever the same frames would score differently."""

    name: str
    version: int
    title: str
    unit: str
    better: str
    digits: int
    meaning: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", 1, "PSNR", "dB", "higher", 2,
               "Likeness to the true frame, 10 log10(1 / mean squared error), capped at 100 dB for equal frames. "
               "Falls by nature with the horizon, since the future is open, and favours blur."),
        Metric("ssim", 1, "SSIM", "", "higher", 3,
               "Structural similarity to the true frame (Wang et al. 2004), 1 for equal frames."),
        Metric("warp_error", 1, "Temporal warp error", "grey levels", "lower", 2,
               "What motion does not explain: mean absolute difference of a frame and the one before it moved along "
               "the optical flow, over pixels seen in both (after Lai et al. 2018). 0 for a frozen video, so read it "
               "with the motion ratio."),
        Metric("motion", 1, "Motion ratio", "x real", "near 1", 2,
               "Mean length of the optical flow, generated over real. Under 1 it moves too little, 0 is frozen."),
        Metric("sharpness", 1, "Sharpness ratio", "x real", "near 1", 2,
               "Mean absolute difference of neighbouring pixels, generated over real. Under 1 blurred, over 1 noisy."),
    )
}  # fmt: skip

LIKENESS = ("psnr", "ssim")
RATIOS = ("motion", "sharpness")
