import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from roadcast.nn.image_quality import MS_SSIM_WEIGHTS, PSNR_CAP_DB, ms_ssim, psnr, scales_that_fit, ssim


def pair(seed: int, shape: tuple[int, ...] = (40, 56, 3)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = np.clip(rng.normal(0.5, 0.2, shape).cumsum(axis=-2) % 1.0, 0, 1)
    return a.astype(np.float32), np.clip(a + rng.normal(0, 0.1, shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_and_psnr_agree_with_scikit_image(seed, data_range):
    a, b = (x * data_range for x in pair(seed))
    theirs = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1, data_range=data_range
    )
    assert ssim(torch.tensor(a), torch.tensor(b), data_range).item() == pytest.approx(theirs, abs=1e-4)
    ratio = peak_signal_noise_ratio(a, b, data_range=data_range)
    assert psnr(torch.tensor(a), torch.tensor(b), data_range).item() == pytest.approx(ratio, abs=1e-3)


def multiscale_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """Equation 7 of the paper of one channel [H, W] in [0, 1], in float64, with scipy's Gaussian filter."""

    def blur(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, truncate=3.5)[5:-5, 5:-5]

    a, b = a.astype(np.float64), b.astype(np.float64)
    score, last = 1.0, len(MS_SSIM_WEIGHTS) - 1
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b, covariance = (blur(x * y) - blur(x) * blur(y) for x, y in ((a, a), (b, b), (a, b)))
        factor = (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2)
        if scale == last:
            factor *= (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        score *= factor.mean() ** weight
        a, b = (x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean(axis=(1, 3)) for x in (a, b))
    return score


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_multiscale_ssim_agrees_with_the_paper_written_out(noise):
    a = pair(0, (192, 224, 3))[0]
    b = np.clip(a + np.random.default_rng(1).normal(0, noise, a.shape), 0, 1).astype(np.float32)
    expected = np.mean([multiscale_by_scipy(a[..., c], b[..., c]) for c in range(3)])
    assert ms_ssim(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected, abs=1e-4)


def test_multiscale_ssim_takes_as_many_scales_as_fit():
    a, b = (torch.tensor(x) for x in pair(0, (2, 64, 96, 3)))
    assert scales_that_fit(64, 96) == 3 and scales_that_fit(176, 300) == 5 and scales_that_fit(10, 300) == 0
    torch.testing.assert_close(ms_ssim(a, b, weights=[1.0]), ssim(a, b), rtol=1e-3, atol=1e-3)
    assert ms_ssim(a, b, weights=[0.2, 0.3, 0.5]).shape == (2,)
    with pytest.raises(ValueError, match="fit into images of 8x12"):
        ms_ssim(a, b, weights=[0.25] * 4)


def test_multiscale_ssim_has_a_gradient_where_nothing_is_alike():
    a = torch.tensor(pair(0, (176, 176, 3))[0])
    b = (1 - a).requires_grad_()
    ms_ssim(a, b).backward()
    assert b.grad is not None and torch.isfinite(b.grad).all()


def test_every_leading_axis_is_an_image_of_its_own():
    a, b = (torch.tensor(x) for x in pair(0, (2, 3, 16, 24, 3)))
    for metric in (psnr, ssim):
        alone = [[metric(a[i, j], b[i, j]).item() for j in range(3)] for i in range(2)]
        torch.testing.assert_close(metric(a, b), torch.tensor(alone))


def test_equal_images_score_the_best_there_is():
    a = torch.tensor(pair(1)[0])
    assert psnr(a, a).item() == PSNR_CAP_DB
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-6)


def test_more_noise_is_worse_by_both():
    a = torch.tensor(pair(2)[0])
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    for metric in (psnr, ssim):
        scores = [metric(a, a + s * noise).item() for s in (0.01, 0.05, 0.2, 0.5)]
        assert scores == sorted(scores, reverse=True)


def test_a_step_along_the_gradient_of_ssim_raises_it():
    a, b = (torch.tensor(x, dtype=torch.float64) for x in pair(3))
    b.requires_grad_()
    ssim(a, b).backward()
    assert torch.isfinite(b.grad).all()
    assert ssim(a, b + 1.0 * b.grad) > ssim(a, b)
    assert torch.autograd.gradcheck(
        lambda x: ssim(a[:12, :12], x), b.detach()[:12, :12].requires_grad_(), fast_mode=True
    )


def test_ssim_is_computed_in_full_precision_inside_autocast():
    a, b = (torch.tensor(x) for x in pair(1))
    alone = ssim(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(ssim(a, b), alone)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(16, 16, 3), torch.zeros(16, 16, 1), "one shape"),
        (torch.zeros(16, 16, 3, dtype=torch.uint8), torch.zeros(16, 16, 3, dtype=torch.uint8), "divide uint8"),
        (torch.zeros(8, 16, 3), torch.zeros(8, 16, 3), "window 11"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        ssim(a, b)
