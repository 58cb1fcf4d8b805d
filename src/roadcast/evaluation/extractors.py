"""Networks that turn videos into features, for the distances of sets: which one, with which weights, and how pictures are brought to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from roadcast.errors import UserError
from roadcast.files import sha256
from roadcast.nn import i3d, squeezenet
from roadcast.safetensors import load_tensors

FITS = ("squash", "squash-antialias", "crop", "crop-antialias")
"""How frames of any shape come to a square: by stretching, or the short side first and then the middle; bilinear, with or without
smoothing before pixels are left out. Published scores differ by it, so its name is part of the extractor's."""


@dataclass(frozen=True)
class Extractor:
    """Videos to features.

    name      of the distance that is taken in them: "fvd" or "frame_frechet"
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
    network = loaded(weights, i3d.I3D.from_tensors).to(device)

    @torch.no_grad()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        if frames_BFHWC.shape[1] < 9:
            raise UserError(
                f"FVD is of videos of 9 frames or more, these have {frames_BFHWC.shape[1]}; use a longer --horizon"
            )
        rows = [network(fitted(video[None].to(device), i3d.SIDE, fit) / 127.5 - 1) for video in frames_BFHWC]
        return torch.cat(rows).cpu().numpy()

    return Extractor("fvd", f"i3d-400-logits/{check_fit(fit)}/{sha256(weights)}", features)


def frame_extractor(weights: Path, fit: str = "squash-antialias", device: str = "cpu") -> Extractor:
    """SqueezeNet 1.0's 512 features, one row a frame. What is taken in them is no FID, whose network is another.

    weights  .npz of the arrays in the order of the layers
    Raises `UserError` for a file that cannot be read or is not SqueezeNet's.
    """
    network = loaded(weights, squeezenet.SqueezeNet.from_tensors).to(device)

    @torch.no_grad()
    def features(frames_BFHWC: Tensor) -> np.ndarray:
        rows = [
            network.features(fitted(video[None].to(device), squeezenet.SIDE, fit)[0]).mean(dim=(2, 3))
            for video in frames_BFHWC
        ]
        return torch.cat(rows).cpu().numpy()

    return Extractor("frame_frechet", f"squeezenet-1.0-512/{check_fit(fit)}/{sha256(weights)}", features)


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


def loaded(path: Path, build: Callable[[dict[str, Tensor]], torch.nn.Module]) -> torch.nn.Module:
    """The network that `build` makes of the tensors in a file: .npz, .safetensors, TorchScript, or a dictionary by torch.save."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file; docs/evaluation.md says where the weights are published")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                tensors = {name: torch.from_numpy(file[name]) for name in file.files}
        elif path.suffix == ".safetensors":
            tensors = load_tensors(path)
        else:
            tensors = state_in(path)
        return build(tensors)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be used ({str(error).splitlines()[0]}); docs/evaluation.md says which weights it takes"
        ) from None


def state_in(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive, of which nothing is run, or of a dictionary saved by torch.save."""
    try:
        return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except RuntimeError:
        return torch.load(path, map_location="cpu", weights_only=True)
