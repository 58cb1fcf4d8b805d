"""Metrics against the packages that define them, on the same weights and pictures.

    python benchmarks/metrics_parity.py [--write]

`--write`, with all packages installed, renews tests/golden/metrics.json: names and shapes of the weights as each reference saves
them, and the values it gives with weights by formula (metrics_inputs.py). The tests compare by it, and so does this where a package
is missing. I3D's is piergiaj/pytorch-i3d, a folder of which $PYTORCH_I3D names.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metrics_inputs import features, pictures, weights

from roadcast.evaluation.extractors import lpips_network
from roadcast.evaluation.metrics.frechet import Moments, frechet_distance, kernel_distance, precision_recall
from roadcast.evaluation.weights import loaded
from roadcast.nn import i3d, inception
from roadcast.nn.image_quality import ms_ssim, psnr, ssim

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "metrics.json"
TOLERANCE = 1e-4

Layout = Mapping[str, list[int]]


@dataclass(frozen=True)
class Case:
    """A metric, here and there.

    reference  what defines it
    network    makes the reference's network, whose weights are by formula; None where there is none
    theirs     of that network, the values; raises ImportError without the package
    ours       of the weight file that the reference wrote, the values
    """

    reference: str
    theirs: Callable[[Any], Any]
    ours: Callable[[Path], Any]
    network: Callable[[], torch.nn.Module] | None = None


def pair(height: int = 64, width: int = 96, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as uint8 [count, H, W, 3], and the same less sharp under other noise."""
    a, other = pictures(count, height, width), pictures(count, height, width, k=3)
    return a, ((a.float() + a.float().roll(1, dims=2) + 0.4 * other.float()) / 2.4).to(torch.uint8)


def floats(low: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The pair as float32 in [low, 1], channels last."""
    a, b = (x.float() / 255 * (1 - low) + low for x in pair(192, 208))
    return a, b


def channels_first(*pictures: torch.Tensor) -> list[torch.Tensor]:
    return [x.movedim(-1, 1).contiguous() for x in pictures]


def lpips_case(trunk: str) -> Case:
    def network() -> torch.nn.Module:
        import lpips

        return lpips.LPIPS(net=trunk, pnet_rand=True, pretrained=False, verbose=False)

    a, b = (x.float() / 127.5 - 1 for x in pair())
    return Case(
        "lpips 0.1.4",
        network=network,
        theirs=lambda reference: reference(*channels_first(a, b)).flatten(),
        ours=lambda file: lpips_network([file])[0](a, b),
    )


def their_inception() -> torch.nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):
        def load_state_dict(self, *given, **options):
            return super().load_state_dict(*given, **options) if given[0] else None

    with tempfile.TemporaryDirectory() as folder:
        torch.save({}, f"{folder}/none.pth")
        return Unloaded("inception-v3-compat", ["2048"], feature_extractor_weights_path=f"{folder}/none.pth")


def their_i3d() -> torch.nn.Module:
    sys.path.insert(0, os.environ.get("PYTORCH_I3D", ""))
    from pytorch_i3d import InceptionI3d

    return InceptionI3d(400, in_channels=3)


def clip() -> torch.Tensor:
    """A video [1, F, 224, 224, 3] in [-1, 1] of as few frames as I3D takes."""
    return pictures(9, 224, 224)[None].float() / 127.5 - 1


def their_frechet(_: None) -> list[float]:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in sets()]
    return [fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]]


def torchmetrics_frechet(_: None) -> list[float]:
    from torchmetrics.image.fid import _compute_fid

    (a, b), cov = ([torch.from_numpy(x).double() for x in sets()], lambda x: torch.cov(x.T))
    return [_compute_fid(a.mean(0), cov(a), b.mean(0), cov(b)).item()]


def scipy_frechet(_: None) -> list[float]:
    from scipy.linalg import sqrtm

    a, b = (x.astype(np.float64) for x in sets())
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    apart = a.mean(0) - b.mean(0)
    return [apart @ apart + sum(map(np.trace, covariances)) - 2 * np.trace(sqrtm(covariances[0] @ covariances[1])).real]


def their_kernel(_: None) -> list[float]:
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    a, b = (x.astype(np.float64) for x in sets())
    cubic = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    return [mmd2(*(kernel_poly(x, y, **cubic) for x, y in ((a, a), (a, b), (b, b))))]


def their_precision(_: None) -> tuple[float, float]:
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, made = (torch.from_numpy(x).double() for x in sets())
    return calculate_precision_recall_full(made, real)


def scikit(name: str, **options) -> Callable[[None], list[float]]:
    def theirs(_: None) -> list[float]:
        import skimage.metrics

        return [
            getattr(skimage.metrics, name)(x.numpy(), y.numpy(), data_range=1.0, **options) for x, y in zip(*floats())
        ]

    return theirs


def their_ms_ssim(_: None) -> torch.Tensor:
    from pytorch_msssim import ms_ssim

    return ms_ssim(*channels_first(*floats()), data_range=1.0, size_average=False)


def sets() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features, of as many rows, more than there are features."""
    return features(400, 48, k=0), features(400, 48, k=1)


def our_frechet(_: Path) -> list[float]:
    return [frechet_distance(*(Moments.of(x) for x in sets()))]


def our_inception(file: Path) -> np.ndarray:
    network = loaded(inception.Inception.from_tensors, file)
    return network(inception.resized(pair()[0].float()))[:, ::64].numpy()


CASES = {
    **{f"lpips_{trunk}": lpips_case(trunk) for trunk in ("alex", "vgg", "squeeze")},
    "inception": Case(
        "torch-fidelity 0.4.0",
        network=their_inception,
        theirs=lambda reference: reference(channels_first(pair()[0])[0])[0][:, ::64],
        ours=our_inception,
    ),
    "i3d": Case(
        "pytorch-i3d",
        network=their_i3d,
        theirs=lambda reference: reference(clip().movedim(-1, 1)).mean(dim=2)[:, ::8],
        ours=lambda file: loaded(i3d.I3D.from_tensors, file)(clip())[:, ::8],
    ),
    "frechet_by_scipy": Case("scipy.linalg.sqrtm", scipy_frechet, our_frechet),
    "frechet_by_torch_fidelity": Case("torch-fidelity 0.4.0", their_frechet, our_frechet),
    "frechet_by_torchmetrics": Case("torchmetrics 1.9.0", torchmetrics_frechet, our_frechet),
    "kernel": Case("torch-fidelity 0.4.0", their_kernel, lambda _: [kernel_distance(*sets())]),
    "precision_recall": Case("torch-fidelity 0.4.0", their_precision, lambda _: precision_recall(*sets())),
    "psnr": Case("scikit-image", scikit("peak_signal_noise_ratio"), lambda _: psnr(*floats())),
    "ssim": Case(
        "scikit-image",
        scikit("structural_similarity", gaussian_weights=True, use_sample_covariance=False, channel_axis=-1),
        lambda _: ssim(*floats()),
    ),
    "ms_ssim": Case("pytorch-msssim 1.0.0", their_ms_ssim, lambda _: ms_ssim(*floats())),
}


def relative_error(ours: Any, theirs: Any) -> float:
    """`max |x - y| / max |y|`."""
    x, y = (np.asarray(values, np.float64) for values in (ours, theirs))
    return float(np.abs(x - y).max() / np.abs(y).max())


def layout_of(network: torch.nn.Module) -> Layout:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def ours(case: Case, layout: Layout) -> np.ndarray:
    """Our values, the weights read from a file of that layout."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file = Path(folder) / "weights.pth"
        torch.save(weights(layout), file)
        return np.asarray(case.ours(file), np.float64)


def theirs(case: Case) -> tuple[Layout, np.ndarray]:
    """The layout of the reference's weights, and its values. Raises ImportError where it is not installed."""
    layout, network = {}, None
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        if case.network is not None:
            network = case.network().eval()
            layout = layout_of(network)
            network.load_state_dict(weights(layout), strict=False)
        return layout, np.asarray(case.theirs(network), np.float64)


def kept() -> dict[str, Any]:
    """By case the layout and the values that were kept."""
    return json.loads(GOLDEN.read_text())


def compare() -> tuple[dict[str, float], dict[str, Any]]:
    """Relative errors by case, and what a golden file holds of those whose reference is installed; others are held to kept values."""
    errors, golden = {}, {}
    for name, case in CASES.items():
        try:
            layout, values = theirs(case)
            golden[name] = {"reference": case.reference, "layout": layout, "values": values.tolist()}
        except ImportError:
            layout, values = kept()[name]["layout"], kept()[name]["values"]
        errors[name] = relative_error(ours(case, layout), values)
        how = "" if name in golden else ", by kept values"
        print(f"{name:28} {errors[name]:.1e} against {case.reference}{how}", flush=True)
    return errors, golden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    errors, golden = compare()
    if arguments.write:
        assert set(golden) == set(CASES), "all references are needed"
        GOLDEN.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(json.dumps({"max_relative_error": max(errors.values()), "cases": len(errors)}))


if __name__ == "__main__":
    main()
