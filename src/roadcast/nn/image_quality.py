"""Image likeness as pure, differentiable tensor functions: PSNR, SSIM and multi-scale SSIM on channels-last images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

PSNR_CAP_DB = 100.0  # the score of two equal images, whose PSNR would be infinite and spoil every mean
MS_SSIM_WEIGHTS = (
    0.0448,
    0.2856,
    0.3001,
    0.2363,
    0.1333,
)  # of five scales, the finest first: Wang et al. 2003, section 3.2


def psnr(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image, in dB, larger is better.

    10 log10(data_range^2 / mean((a - b)^2)), capped at `PSNR_CAP_DB`.

    Args:
        a, b: floating images [..., H, W, C] of one shape.
        data_range: largest value minus smallest value an image may have.
    Returns: [...], one value per image, float32 or float64.
    Raises: ValueError when the shapes differ or the images are not floating point.
    """
    _check(a, b)
    error = (a - b).to(torch.promote_types(a.dtype, torch.float32)).square().mean(dim=(-3, -2, -1)) / data_range**2
    return -10.0 * error.clamp_min(10.0 ** (-PSNR_CAP_DB / 10.0)).log10()


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural similarity of each image, 1 when equal, larger is better.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004),
    eq. 13, K1 = 0.01, K2 = 0.03, Gaussian weights, mean over channels and over those pixels whose whole window lies
    inside the image. That border rule is the paper's, and scikit-image's `structural_similarity` with
    `gaussian_weights=True, use_sample_covariance=False` gives the same value.

    Args:
        a, b: floating images [..., H, W, C] of one shape, H and W at least `window`.
        data_range: largest value minus smallest value an image may have.
        window: side of the square window in pixels, odd.
        sigma: standard deviation of the Gaussian weights in pixels.
    Returns: [...], one value per image, float32 or float64.
    Raises: ValueError when the shapes differ, the images are not floating point or are smaller than the window.
    """
    luminance, structure = _likeness(a, b, data_range, window, sigma)
    return (luminance * structure).mean(dim=(-3, -2, -1))


def ms_ssim(
    a: Tensor,
    b: Tensor,
    data_range: float = 1.0,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    window: int = 11,
    sigma: float = 1.5,
) -> Tensor:
    """Multi-scale structural similarity of each image, 1 when equal, larger is better.

        MS-SSIM = l_M^w_M prod_j (c s)_j^w_j

    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), eq. 7: at each of M
    scales the mean of contrast times structure, at the coarsest that of luminance too, from one scale to the next the mean
    of 2x2 pixels. As others do, a scale of negative likeness counts as none, and a channel is an image of its own until
    the end.

    Args:
        a, b, data_range, window, sigma: as for `ssim`; H and W at least `window * 2 ** (len(weights) - 1)`.
        weights: exponent of each scale, the finest first; five of the paper's by default.
    Returns: [...], one value per image, float32 or float64.
    Raises: ValueError as `ssim`, at the scale where the images have become too small.
    """
    if not weights:
        raise ValueError("ms_ssim: weights are empty; give one for each scale")
    a, b = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (a, b))
    factors = []
    for scale, weight in enumerate(weights):
        if scale:
            a, b = halved(a), halved(b)
        luminance, structure = _likeness(a, b, data_range, window, sigma)
        last = scale == len(weights) - 1
        likeness = (luminance * structure if last else structure).mean(dim=(-2, -1))
        factors.append(likeness.clamp_min(1e-6) ** weight)  # not quite 0, where the gradient of x^w is infinite
    return torch.stack(factors).prod(dim=0).mean(dim=-1)


def scales_that_fit(height: int, width: int, window: int = 11) -> int:
    """How many scales `ms_ssim` can take of images of this size."""
    scales = 0
    while min(height, width) >= window:
        scales, height, width = scales + 1, height // 2, width // 2
    return scales


def weights_that_fit(height: int, width: int) -> list[float]:
    """Exponents for `ms_ssim` of as many of the paper's five scales as fit into images of this size, scaled to the same sum, 1.

    Five take images of 176 pixels a side.
    """
    weights = MS_SSIM_WEIGHTS[: scales_that_fit(height, width)]
    return [weight / sum(weights) for weight in weights]


def halved(x: Tensor) -> Tensor:
    """The mean of 2x2 pixels of images [..., H, W, C]; an odd last row or column is left out."""
    height, width = x.shape[-3:-1]
    x = x[..., : height // 2 * 2, : width // 2 * 2, :]
    return reduce(x, "... (h p) (w q) c -> ... h w c", "mean", p=2, q=2)


def _likeness(a: Tensor, b: Tensor, data_range: float, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The maps of luminance, and of contrast times structure, whose product is SSIM: each [..., C, H', W'], window by window."""
    _check(a, b)
    *lead, height, width, channels = a.shape
    if window % 2 == 0 or min(height, width) < window:
        raise ValueError(f"ssim: window {window} must be odd and fit into images of {height}x{width} pixels")
    # Depth-wise, in full precision whatever surrounds us: E[x^2] - E[x]^2 does not survive bfloat16 or TF32.
    dtype = torch.promote_types(a.dtype, torch.float32)
    a_NCHW, b_NCHW = (x.to(dtype).movedim(-1, -3).reshape(-1, channels, height, width) for x in (a, b))
    offset = torch.arange(window, dtype=dtype, device=a.device) - window // 2
    weight = torch.softmax(-0.5 * (offset / sigma).square(), dim=0).expand(a_NCHW.shape[0] * channels, 1, window)

    def blur(x_NCHW: Tensor) -> Tensor:
        x = x_NCHW.flatten(0, 1)[None]  # all as channels of one image: twice as fast on a CPU as image by image
        x = F.conv2d(x, weight.unsqueeze(-2), groups=len(weight))
        x = F.conv2d(x, weight.unsqueeze(-1), groups=len(weight))
        return x[0].unflatten(0, (-1, channels))

    with torch.autocast(a.device.type, enabled=False):
        mean_a, mean_b, product = blur(a_NCHW), blur(b_NCHW), blur(a_NCHW * b_NCHW)
        square = blur(a_NCHW.square() + b_NCHW.square())
    variance = square - mean_a.square() - mean_b.square()  # of a plus of b
    covariance = product - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * covariance + c2) / (variance + c2)
    shape = (*lead, *luminance.shape[1:])
    return luminance.reshape(shape), structure.reshape(shape)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim < 3:
        raise ValueError(f"images must have one shape [..., H, W, C], got {tuple(a.shape)} and {tuple(b.shape)}")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"images must be floating point, got {a.dtype} and {b.dtype}: divide uint8 frames by 255")
