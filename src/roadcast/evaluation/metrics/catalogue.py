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
        Metric("ms_ssim", 1, "MS-SSIM", "", "higher", 3,
               "The same over several scales (Wang et al. 2003), as many of its five as fit: coarse structure counts, and small "
               "displacements less."),
        Metric("lpips", 1, "LPIPS", "", "lower", 3,
               "Learned perceptual distance to the true frame (Zhang et al. 2018), 0 for equal frames."),
        Metric("warp_error", 1, "Temporal warp error", "grey levels", "lower", 2,
               "What motion does not explain: mean absolute difference of a frame and the one before it moved along "
               "the optical flow, over pixels seen in both (after Lai et al. 2018). 0 for a frozen video, so read it "
               "with the motion ratio."),
        Metric("motion", 1, "Motion ratio", "x real", "near 1", 2,
               "Mean length of the optical flow, generated over real. Under 1 it moves too little, 0 is frozen."),
        Metric("jitter", 1, "Jitter ratio", "x real", "near 1", 2,
               "Mean length of the change of optical flow from frame to frame, generated over real. Over 1 it moves less smoothly."),
        Metric("flicker", 1, "Flicker ratio", "x real", "near 1", 2,
               "Second difference in time of the brightness of 4 x 8 cells of the picture, generated over real. Over 1 it flickers."),
        Metric("sharpness", 1, "Sharpness ratio", "x real", "near 1", 2,
               "Mean absolute difference of neighbouring pixels, generated over real. Under 1 blurred, over 1 noisy."),
        Metric("depth_consistency", 1, "Depth consistency error", "", "lower", 4,
               "How far depth, as a network tells it of every frame alone, disagrees with that of the fourth frame before, moved along the "
               "recorded motion of the ego: mean absolute log ratio (after Bian et al. 2019). A world that moves otherwise than was "
               "recorded, or whose shapes boil, scores high, a soft one low: read it with the sharpness ratio, and against real video."),
        Metric("depth_flicker", 1, "Depth flicker", "", "near real", 4,
               "The same where no motion is known: how depth changes along the optical flow, mean absolute log ratio about its median. "
               "0 for a frozen video, so read it with the motion ratio, and against real video."),
    )
}  # fmt: skip
"""In the order of tables. An evaluation has those that its measures give (evaluation/measures.py)."""

LIKENESS = ("psnr", "ssim", "ms_ssim", "lpips")
RATIOS = ("motion", "jitter", "flicker", "sharpness")
