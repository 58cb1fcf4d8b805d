"""Networks that turn videos into features, for the distances of sets: which one, with which weights, and how pictures are brought to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from roadcast.errors import UserError
from roadcast.evaluation.weights import loaded
from roadcast.files import sha256
from roadcast.flow.world import World
from roadcast.nn import i3d, inception, squeezenet
from roadcast.nn.lpips import LPIPS
from roadcast.safetensors import sha256_of

FITS = ("squash", "squash-antialias", "crop", "crop-antialias")
"""How frames of any shape come to a square: by stretching, or the short side first and then the middle; bilinear, with or without
smoothing before pixels are left out. Published scores differ by it, so its name is part of the extractor's."""
BATCH = 2
"""Videos that I3D sees at once: alone they are slower, and more ask for memory."""
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of pt_inception-2015-12-05-6726825d.pth, as pytorch-fid and torch-fidelity publish it."""


@dataclass(frozen=True)
class Extractor:
    """Videos to features.

    name      of the distance that is taken in them: "fvd", "fid", "frame_frechet" or "jepa_frechet"
    identity  network, way of fitting and SHA-256 of the weights: two scores compare only where it is equal
    features  uint8 [B, F, H, W, 3] to float32 [N, D]: a row a video, or a row a frame
    """

    name: str
    identity: str
    features: Callable[[Tensor], np.ndarray]


def fvd_extractor(weights: Path, fit: str = "squash", device: str = "cpu") -> Extractor:
    """I3D's 400 logits, one row a video: the features of the Frechet Video Distance (Unterthiner et al. 2019).

    weights  the public conversion of TF-hub's I3D that StyleGAN-V and most since have used (i3d_torchscript.pt), or its tensors as .pt
             or .safetensors; the weights first released as kinetics-i3d are others, and give other distances
    fit      one of FITS; "squash" is StyleGAN-V's
    Videos have 9 frames or more. Raises `UserError` for a file that cannot be read or is not I3D's.
    """
    network = loaded(i3d.I3D.from_tensors, weights).to(device)

    @torch.inference_mode()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        if frames_BFHWC.shape[1] < 9:
            raise UserError(
                f"FVD is of videos of 9 frames or more, these have {frames_BFHWC.shape[1]}; use a longer --horizon"
            )
        few = frames_BFHWC.split(BATCH)
        rows = [network(fitted(videos.to(device), i3d.SIDE, fit) / 127.5 - 1) for videos in few]
        return torch.cat(rows).cpu().numpy()

    return Extractor("fvd", f"i3d-400-logits/{check_fit(fit)}/{sha256(weights)}", features)


def fid_extractor(weights: Path, device: str = "cpu") -> Extractor:
    """Inception-v3's 2,048 features, one row a frame: those of the Frechet Inception Distance (Heusel et al. 2017).

    weights  pt_inception-2015-12-05-6726825d.pth, the file itself, for what is taken with any others is no FID
    Raises `UserError` for another file.
    """
    network = loaded(inception.Inception.from_tensors, weights).to(device)
    if (found := sha256(weights)) != INCEPTION_SHA256:
        raise UserError(
            f"{weights}: its SHA-256 is {found}, and what is taken with weights other than {INCEPTION_SHA256} is no FID; "
            "docs/evaluation.md says where they are published"
        )

    @torch.inference_mode()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        rows = [network(inception.resized(video.to(device).float())) for video in frames_BFHWC]
        return torch.cat(rows).cpu().numpy()

    return Extractor("fid", f"inception-2015-12-05-2048/tensorflow-bilinear/{found}", features)


def frame_extractor(weights: Path, fit: str = "squash-antialias", device: str = "cpu") -> Extractor:
    """SqueezeNet 1.0's 512 features, one row a frame. What is taken in them is no FID, whose network is another.

    weights  .npz of the arrays in the order of the layers
    Raises `UserError` for a file that cannot be read or is not SqueezeNet's.
    """
    network = loaded(squeezenet.SqueezeNet.from_tensors, weights).to(device)

    @torch.inference_mode()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        rows = [
            network.features(fitted(video[None].to(device), squeezenet.SIDE, fit)[0]).mean(dim=(2, 3))
            for video in frames_BFHWC
        ]
        return torch.cat(rows).cpu().numpy()

    return Extractor("frame_frechet", f"squeezenet-1.0-512/{check_fit(fit)}/{sha256(weights)}", features)


def jepa_extractor(world_folder: Path, device: str = "cpu") -> Extractor:
    """A world's own encoder of features, one row a video: the mean over time and place.

    world_folder  of a world with an encoder that the objective jepa or contrastive has trained
    Frames at the end that fill no tubelet are left out. Raises `UserError` for a folder without a world, or a world without an encoder.
    """
    encoder = World.load(world_folder, device).features
    if encoder is None:
        raise UserError(f"{world_folder}: the world has no encoder of features; train one with recipes/features.toml")
    digest = sha256_of(encoder.state_dict().values())

    @torch.inference_mode()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        whole = frames_BFHWC.shape[1] // encoder.config.tubelet * encoder.config.tubelet
        rows = [encoder(video[None, :whole].to(device)).mean(dim=(1, 2)) for video in frames_BFHWC]
        return torch.cat(rows).cpu().numpy()

    return Extractor("jepa_frechet", f"video-encoder-{encoder.config.width}/{digest}", features)


def ending_at(extractor: Extractor, horizon: int, frames: int) -> Extractor:
    """The same features of the `frames` frames that end at frame number `horizon`, 1 the first that is made."""
    return Extractor(
        f"{extractor.name}@{horizon}",
        f"{extractor.identity}/frames {horizon - frames + 1} to {horizon}",
        lambda frames_BFHWC: extractor.features(frames_BFHWC[:, horizon - frames : horizon]),
    )


def lpips_network(weights: Sequence[Path], device: str = "cpu") -> tuple[LPIPS, str]:
    """LPIPS and its identity: the trunk's name and the SHA-256 of its files.

    weights  the heads of the PyPI package `lpips` (alex.pth, vgg.pth or squeeze.pth of its version 0.1) and torchvision's file of the
             same trunk, or one file with both
    Raises `UserError` for files that cannot be read or are not LPIPS's.
    """
    network = loaded(LPIPS.from_tensors, *weights).to(device)
    return network, "/".join([f"lpips-{network.name}-0.1", *sorted(sha256(file) for file in weights)])


def check_fit(fit: str) -> str:
    """`fit` itself; `UserError` for one that is unknown."""
    if fit not in FITS:
        raise UserError(f"fit {fit!r} is unknown; choose one of {', '.join(FITS)}")
    return fit


def fitted(frames_BFHWC: Tensor, side: int, fit: str) -> Tensor:
    """uint8 frames as float32 [B, F, side, side, 3] in [0, 255]."""
    batch = len(frames_BFHWC)
    x = rearrange(frames_BFHWC.float(), "b f h w c -> (b f) c h w")
    height, width = x.shape[2:]
    size = (side, side)
    if fit.startswith("crop"):
        short = min(height, width)
        size = (round(side * height / short), round(side * width / short))
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=fit.endswith("antialias"))
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    x = x[:, :, top : top + side, left : left + side]
    return rearrange(x, "(b f) c h w -> b f h w c", b=batch)
