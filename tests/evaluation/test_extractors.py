"""The networks behind the distances: the published layout is read, what does not fit is told, and worse video lies further off."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from roadcast.errors import UserError
from roadcast.evaluation import extractors
from roadcast.evaluation.extractors import FITS, fid_extractor, fitted, frame_extractor, fvd_extractor
from roadcast.evaluation.metrics.distribution import distributions
from roadcast.evaluation.metrics.feature_set import FeatureSet
from roadcast.evaluation.metrics.frechet import frechet_of_rows
from roadcast.evaluation.runner import evaluate
from roadcast.evaluation.weights import loaded
from roadcast.files import sha256
from roadcast.nn.i3d import I3D, same_padding
from roadcast.nn.squeezenet import SIDE, SqueezeNet

CARS = {436, 468, 479, 511, 627, 656, 661, 717, 751, 817, 475, 581, 864, 705}
"""ImageNet's classes of cars and their parts."""


GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.json"


@pytest.fixture(scope="module")
def i3d_tensors() -> dict[str, torch.Tensor]:
    """Random weights in the layout of pytorch-i3d, the last layer first."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in json.loads(GOLDEN.read_text())["i3d"]["layout"].items():
        drawn = torch.rand(shape, generator=generator)
        tensors[name] = (2 * drawn - 1) * (6 / drawn[0].numel()) ** 0.5 if len(shape) > 1 else drawn
    return tensors


@pytest.fixture(scope="module")
def i3d_file(i3d_tensors, tmp_path_factory) -> Path:
    """The same under names that say nothing."""
    path = tmp_path_factory.mktemp("weights") / "i3d.pt"
    torch.save({f"tensor_{n:03d}": value for n, value in enumerate(i3d_tensors.values())}, path)
    return path


def videos(count: int, frames: int = 10, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 3, frames, 8, 16, generator=generator)
    smooth = F.interpolate(noise, (frames, 32, 64), mode="trilinear", align_corners=False)
    return (255 * smooth).to(torch.uint8).movedim(1, -1)


def test_weights_are_read_whatever_their_names_and_what_does_not_fit_is_told(i3d_tensors, i3d_file, tmp_path):
    clips = videos(3)
    features = fvd_extractor(i3d_file).features(clips)
    network = I3D.from_tensors(i3d_tensors)
    expected = torch.cat([network(fitted(clip[None], 224, "squash") / 127.5 - 1) for clip in clips])
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    state = torch.load(i3d_file, weights_only=True)
    first = next(name for name, value in state.items() if value.ndim == 5 and value.shape[-1] == 7)
    torch.save(state | {first: torch.zeros(64, 3, 5, 7, 7)}, tmp_path / "wrong.pt")
    with pytest.raises(UserError, match=rf"wrong.pt: cannot be used \(weight {first} is \(64, 3, 5, 7, 7\)"):
        fvd_extractor(tmp_path / "wrong.pt")
    with pytest.raises(UserError, match="no such file"):
        fvd_extractor(tmp_path / "nowhere.pt")
    with pytest.raises(UserError, match="9 frames or more, these have 8"):
        fvd_extractor(i3d_file).features(videos(1, frames=8))


def test_torchscript_weights_are_read_without_running_them(i3d_tensors, tmp_path):
    archive = torch.nn.Module()
    for n, tensor in enumerate(i3d_tensors.values()):
        archive.register_buffer(f"tensor_{n}", tensor)
    torch.jit.script(archive).save(str(tmp_path / "i3d_torchscript.pt"))
    network = loaded(I3D.from_tensors, tmp_path / "i3d_torchscript.pt")
    for own, expected in zip(network.parameters(), I3D.from_tensors(i3d_tensors).parameters(), strict=True):
        assert torch.equal(own, expected)


def test_with_weights_other_than_the_published_nothing_is_called_fid(tmp_path, monkeypatch):
    file = tmp_path / "inception.pth"
    layout = json.loads(GOLDEN.read_text())["inception"]["layout"]
    torch.save({name: torch.rand(shape) for name, shape in layout.items()}, file)
    with pytest.raises(UserError, match=r"inception.pth: its SHA-256 is .* is no FID"):
        fid_extractor(file)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", sha256(file))
    extractor = fid_extractor(file)
    assert extractor.name == "fid" and extractor.identity.endswith(sha256(file))
    assert extractor.features(videos(1, frames=2)).shape == (2, 2048)


def test_a_file_that_holds_no_tensors_is_told(tmp_path):
    (tmp_path / "LICENCE").write_text("BSD LICENSE. Copyright (c) 2016")
    (tmp_path / "empty.pt").touch()
    for name in ("LICENCE", "empty.pt"):
        with pytest.raises(UserError, match=rf"{name}: cannot be used"):
            frame_extractor(tmp_path / name)


def test_padding_is_as_tensorflow_has_it():
    assert same_padding(10, 7, 2) == (2, 3) and same_padding(9, 7, 2) == (3, 3)
    assert same_padding(8, 3, 2) == (0, 1) and same_padding(5, 1, 1) == (0, 0)


def test_each_way_of_fitting_is_another_extractor_and_keeps_flat_pictures_flat(i3d_file):
    assert len({fvd_extractor(i3d_file, fit).identity for fit in FITS}) == len(FITS)
    flat = torch.full((1, 2, 32, 64, 3), 77, dtype=torch.uint8)
    wide = torch.arange(64, dtype=torch.uint8).repeat(1, 1, 32, 1)[..., None].expand(1, 1, 32, 64, 3)
    for fit in FITS:
        assert fitted(flat, 48, fit).shape == (1, 2, 48, 48, 3)
        torch.testing.assert_close(fitted(flat, 48, fit), torch.full((1, 2, 48, 48, 3), 77.0))
    assert fitted(wide, 48, "squash").amin() < 1 and 15 < fitted(wide, 48, "crop").amin() < 17, "the middle half"
    with pytest.raises(UserError, match="fit 'stretch' is unknown"):
        fvd_extractor(i3d_file, "stretch")


@pytest.fixture(scope="session")
def squeezenet_file(shared_data) -> Path:
    return shared_data / "weights" / "squeezenet_1_0" / "squeezenet_v1.0_dc_fp32.npz"


def test_the_published_squeezenet_sees_cars_in_a_street(shared_data, squeezenet_file):
    with np.load(squeezenet_file) as file:
        network = SqueezeNet.from_tensors({name: torch.from_numpy(file[name]) for name in file.files})
    frames = sorted(shared_data.glob("kitti/**/image_02/data/*.png"))
    right = []
    for frame in frames:
        picture = cv2.imread(str(frame))[..., ::-1]
        side = np.ascontiguousarray(picture[:, -picture.shape[0] :])  # parked cars on the right
        x = cv2.resize(side, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        right.append(int(network(torch.from_numpy(x)[None]).argmax()) in CARS)
    assert len(right) >= 4 and all(right)


def spoilt(video: torch.Tensor, how: str, strength: int) -> torch.Tensor:
    """Video that is worse by so much."""
    if how == "noise":
        noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
        return (video + 12 * strength * noise).clamp(0, 255).to(torch.uint8)
    blurred = [cv2.GaussianBlur(frame, (0, 0), 0.8 * strength) for frame in video.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(blurred)).reshape(video.shape)


@pytest.mark.parametrize("how", ["noise", "blur"])
def test_worse_video_lies_further_off_and_real_against_real_is_nearest(reel, squeezenet_file, how):
    extractor = frame_extractor(squeezenet_file)
    frames = torch.from_numpy(np.stack([reel.read(n) for n in range(60)]))[None]
    real = extractor.features(frames)
    sets = {str(s): FeatureSet.of(extractor.features(spoilt(frames, how, s))) for s in (1, 2, 4)}
    sets["real"] = FeatureSet.of(real, parts=2)
    found = distributions(sets)
    values = [found[name].frechet.mean for name in ("1", "2", "4")]
    assert values == sorted(values) and found["real"].frechet.mean < values[1]
    kernels = [found[name].kernel for name in ("1", "2", "4")]
    assert kernels == sorted(kernels) and abs(found["real"].kernel) < kernels[0]


def test_an_evaluation_tells_its_sets_and_who_made_the_features(reel, worlds, squeezenet_file, tmp_path):
    extractor = frame_extractor(squeezenet_file)
    result = evaluate(
        worlds["frozen"](), reel, clips=4, context=4, horizon=6, steering_contexts=0, extractors=[extractor]
    )
    sets = result.distributions["frame_frechet"]
    assert set(sets) == {"model", "copy", "reconstruction", "real"} and sets["model"].count == 24
    assert sets["reconstruction"].frechet.mean == pytest.approx(0, abs=1e-6) and sets["reconstruction"].precision == 1
    assert sets["model"].frechet.mean == sets["copy"].frechet.mean > 0
    assert "squeezenet" in result.protocol.networks["frame_frechet"]
    page = result.save(tmp_path).read_text()
    assert "Frechet distance of frames" in page and extractor.identity in page and ">FVD<" not in page


@pytest.mark.slow
@pytest.mark.skipif("ROADCAST_FVD_WEIGHTS" not in os.environ, reason="set ROADCAST_FVD_WEIGHTS to i3d_torchscript.pt")
def test_the_published_weights_give_the_published_distance_of_zeros_and_ones():
    """Eight clips of 30 frames of 64x64 pixels, all black against all white (README of common_metrics_on_video_quality)."""
    extractor = fvd_extractor(Path(os.environ["ROADCAST_FVD_WEIGHTS"]))
    black, white = (extractor.features(torch.full((8, 30, 64, 64, 3), value, dtype=torch.uint8)) for value in (0, 255))
    assert frechet_of_rows(black, white) == pytest.approx(151.26, rel=1e-3)
