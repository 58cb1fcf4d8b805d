"""A film of what a world makes of a recording it was not trained on."""

import numpy as np
import torch

from roadcast.config import Config
from roadcast.data.loading.loader import read_clips
from roadcast.data.reel.store import Reel
from roadcast.evaluation.video_io import stack
from roadcast.flow.world import World

IMAGINED = 24
"""Frames that follow the context, or as many as the recording has."""


class Sample:
    """One held-out clip, and what a world makes of it.

    makes  "frames": the clip through the tokenizer and back; "latents": the context of a world, and what it imagines after it
    """

    def __init__(self, reel: Reel, config: Config, makes: str):
        self.makes = makes
        stride = config.tokenizer.time_stride
        self.context = (config.dynamics.context_frames - 1) // stride * stride or stride
        places = [(i, v) for i, v in enumerate(reel.videos) if v.split == "val" and v.frames >= self.context + stride]
        self.clip = None
        if places:
            index, video = places[0]
            frames = min(self.context + IMAGINED, video.frames) // stride * stride
            self.clip = read_clips(reel, [(index, video.first)], frames, config.dynamics.actions)

    @torch.no_grad()
    def film(self, world: World) -> np.ndarray | None:
        """uint8 [F, H', W, 3]: what was recorded above, what is made below; None where no held-out recording is long enough."""
        if self.clip is None:
            return None
        clip, true = self.clip, self.clip.frames_BFHWC
        assert true is not None
        if self.makes == "frames":
            made = world.reconstruct(true)
        else:
            made = world.imagine(true[:, : self.context], clip.actions_BFA, clip.known_BFA, seeds=[0])
            made = torch.cat([true[:, : self.context], made.cpu()], dim=1)
        pairs = zip(true[0].numpy(), made[0].cpu().numpy(), strict=True)
        return np.stack([stack(pair) for pair in pairs])
