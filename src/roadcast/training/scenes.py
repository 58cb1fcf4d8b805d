"""The scenes a finished world can be started from: a few short clips of its reel, kept beside its weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roadcast.config import Config
from roadcast.data.loading.loader import read_clips
from roadcast.data.loading.sampler import ClipTable
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError

SCENES = 8


@dataclass
class Scenes:
    """Context clips: frames_BFHWC uint8, actions_BFA float32, known_BFA bool, and a name for each."""

    names: list[str]
    frames_BFHWC: Tensor
    actions_BFA: Tensor
    known_BFA: Tensor


def save_scenes(folder: Path, reel: Reel, config: Config) -> None:
    """Write `folder`/scenes.npz: clips as long as the model's context, evenly spread over held-out recordings (or, without any, all)."""
    frames = config.dynamics.context_frames
    splits = [
        split for split in ("val", "test", "train") if any(v.split == split and v.frames >= frames for v in reel.videos)
    ]
    if not splits:
        raise UserError(f"{reel.path}: no recording has the {frames} frames a scene needs; ingest longer recordings")
    table = ClipTable.of(reel.videos, splits[0], frames)
    found = [table.find(clip) for clip in np.linspace(0, len(table) - 1, SCENES + 2, dtype=int)[1:-1]]
    clip = read_clips(reel, found, frames, config.dynamics.actions)
    assert clip.frames_BFHWC is not None
    names = [
        f"{reel.videos[video].name} @ {(first - reel.videos[video].first) / reel.fps:.1f} s" for video, first in found
    ]
    np.savez_compressed(
        folder / "scenes.npz",
        names=np.array(names),
        frames=clip.frames_BFHWC,
        actions=clip.actions_BFA,
        known=clip.known_BFA,
    )


def load_scenes(folder: Path) -> Scenes:
    """The scenes kept with a world; `UserError` when they are missing or damaged."""
    path = folder / "scenes.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, actions, known = (torch.from_numpy(file[name]) for name in ("frames", "actions", "known"))
            return Scenes([str(name) for name in file["names"]], frames, actions, known)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: scenes cannot be read ({error}); export the world again with `roadcast train`"
        ) from None
