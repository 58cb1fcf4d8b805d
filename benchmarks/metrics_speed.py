"""How fast metrics are against the packages that define them: CPU seconds of one thread, so that other work does not tell."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metrics_inputs import features, pictures, weights
from metrics_parity import CASES, channels_first, layout_of, relative_error, their_i3d

from roadcast.evaluation.metrics.frechet import Moments, frechet_distance
from roadcast.nn import i3d, inception
from roadcast.nn.image_quality import ssim
from roadcast.nn.lpips import LPIPS

FRAMES, CLIPS = 16, 4
SHOWN = 3
"""Systems that an evaluation holds against the same true frames: the model, the last frame repeated, the tokenizer alone."""
REPEATS = 2


@dataclass(frozen=True)
class Race:
    """One computation, here and there, of so many clips (for a distance: one)."""

    reference: str
    clips: int
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def seconds(run: Callable[[], Any]) -> float:
    """The least CPU time of some runs."""
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        taken.append(time.process_time() - started)
    return min(taken)


def races(quick: bool) -> Iterator[tuple[str, Race]]:
    """What can be run here; packages that are not installed are left out."""
    yield "Frechet, 400 features", frechet_race(400, 800)
    yield "SSIM", ssim_race()
    if quick:
        return
    yield "Frechet, 1,024 features", frechet_race(1024, 2048)
    for name, race in (("I3D and Frechet", fvd_race), ("Inception", inception_race), ("LPIPS, AlexNet", lpips_race)):
        try:
            yield name, race()
        except ImportError as error:
            print(f"{name:24} left out: {error}", flush=True)
    if importlib.util.find_spec("lpips"):
        yield "LPIPS, SqueezeNet", lpips_race("squeeze")
        yield "LPIPS, VGG", lpips_race("vgg")


def exact(a: np.ndarray, b: np.ndarray) -> float:
    """Heusel's formula as pytorch-fid and torch-fidelity have it."""
    from scipy.linalg import sqrtm

    a, b = a.astype(np.float64), b.astype(np.float64)
    covariances, apart = [np.cov(x, rowvar=False) for x in (a, b)], a.mean(0) - b.mean(0)
    return apart @ apart + sum(map(np.trace, covariances)) - 2 * np.trace(sqrtm(covariances[0] @ covariances[1])).real


def frechet_race(width: int, count: int) -> Race:
    a, b = features(count, width, 0), features(count, width, 1)
    return Race(
        "numpy and scipy.linalg.sqrtm", 1, lambda: frechet_distance(Moments.of(a), Moments.of(b)), lambda: exact(a, b)
    )


def ssim_race() -> Race:
    from skimage.metrics import structural_similarity

    a, b = (pictures(FRAMES, 128, 160, k).float() / 255 for k in (0, 3))
    options = {"gaussian_weights": True, "use_sample_covariance": False, "channel_axis": -1, "data_range": 1.0}
    return Race(
        "scikit-image", 1, lambda: ssim(a, b),
        lambda: [structural_similarity(x, y, **options) for x, y in zip(a.numpy(), b.numpy())],
    )  # fmt: skip


def loaded_reference(name: str) -> torch.nn.Module:
    """A reference's network with weights by formula."""
    network = CASES[name].network().eval()
    network.load_state_dict(weights(layout_of(network)), strict=False)
    return network


def fvd_race() -> Race:
    reference = their_i3d().eval()
    state = weights(layout_of(reference))
    reference.load_state_dict(state)
    network = i3d.I3D.from_tensors(state)
    clips = pictures(CLIPS * FRAMES, 224, 224).float().unflatten(0, (CLIPS, FRAMES)) / 127.5 - 1
    real = features(200, 400)

    def ours() -> float:
        made = torch.cat([network(two) for two in clips.split(2)])
        return frechet_distance(Moments.of(real), Moments.of(made.numpy()))

    def theirs() -> float:
        made = torch.cat([reference(two.movedim(-1, 1)).mean(dim=2) for two in clips.split(2)])
        return exact(real, made.numpy())

    return Race("pytorch-i3d, scipy", CLIPS, ours, theirs)


def inception_race() -> Race:
    reference = loaded_reference("inception")
    network = inception.Inception.from_tensors(weights(layout_of(reference)))
    frames = pictures(4, 128, 160)
    first = channels_first(frames)[0]
    return Race("torch-fidelity", 1, lambda: network(inception.resized(frames.float())), lambda: reference(first)[0])


def lpips_race(trunk: str = "alex") -> Race:
    reference = loaded_reference(f"lpips_{trunk}")
    network = LPIPS.from_tensors(reference.state_dict())
    true, *shown = (pictures(2, 128, 160, k).float() / 127.5 - 1 for k in range(SHOWN + 1))

    def ours() -> list[list[float]]:
        known = network.features(true)
        return [network.between(network.features(made), known).tolist() for made in shown]

    def theirs() -> list[list[float]]:
        return [reference(*channels_first(made, true)).flatten().tolist() for made in shown]

    return Race("lpips", SHOWN, ours, theirs)


@torch.inference_mode()
def measure(quick: bool) -> dict[str, dict[str, float]]:
    """Clips a second of both sides and their ratio, by computation."""
    found = {}
    for name, race in races(quick):
        error = relative_error(np.asarray(race.ours()), np.asarray(race.theirs()))  # and both are warm
        assert error < 1e-3, (name, error)
        ours, theirs = seconds(race.ours), seconds(race.theirs)
        found[name] = {"ours": race.clips / ours, "theirs": race.clips / theirs, "ratio": theirs / ours}
        print(
            f"{name:24} {race.clips / ours:8.2f} a second, {race.reference} {race.clips / theirs:8.2f}: {theirs / ours:.2f} times"
        )
    return found


def memory(quick: bool) -> dict[int, float]:
    """Peak memory in MiB of a process that takes in N clips' features of 512 numbers, and 4 N."""
    few = 5000 if quick else 20_000
    return {n: float(subprocess.check_output([sys.executable, __file__, str(n)], text=True)) for n in (few, 4 * few)}


def take_in(count: int) -> float:
    """What `memory` asks of a process of its own."""
    from roadcast.evaluation.metrics.feature_set import FeatureSet

    kept, rng = FeatureSet(parts=2), np.random.default_rng(0)
    for _ in range(count // 100):
        kept.add(rng.normal(size=(100, 512)).astype(np.float32), clips=100)
    assert kept.kept().moments.count == count
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024  # getrusage would tell the parent's, if that is larger


if __name__ == "__main__":
    print(take_in(int(sys.argv[1])))
