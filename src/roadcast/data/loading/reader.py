"""From a draw to its clips: rows and signals gathered for the whole batch, pictures or latents put into one tensor."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from roadcast.data.clip import Clip
from roadcast.data.geometry import from_first
from roadcast.data.loading.latents import LatentReel, Latents
from roadcast.data.loading.pixels import Pixels
from roadcast.data.loading.sampler import Draw
from roadcast.data.reel.store import Reel


class Reader:
    """Clips of one reel, or of a mixture of reels, as pixels or, given latent caches, as latents.

    reels    in the order of `Draw.reel_B`
    actions  the controls to read, names of ACTIONS
    size     (height, width) of the pictures; without it they have the reels' own
    latents  a cache for each reel, read in place of its pictures
    drifted  likewise, of what a world imagined of it, read beside them
    Raises `UserError` for reels or caches that do not go together.
    """

    def __init__(
        self, reels: Sequence[Reel], actions: tuple[str, ...],
        *, size: tuple[int, int] | None = None, latents: Sequence[LatentReel] | None = None,
        drifted: Sequence[LatentReel] | None = None,
    ):  # fmt: skip
        self.reels, self.actions = list(reels), tuple(actions)
        self.content = Latents(latents) if latents else Pixels(self.reels, size)
        self.drifted = Latents(drifted) if drifted else None
        self.posed = any("ego_pose" in reel.signals for reel in self.reels)

    def read(self, draw: Draw) -> Clip:
        """The clips of a draw, whole.

        Raises `UserError` that names the picture if one is damaged, and for an action that is not known.
        """
        clip, parts = self.plan(draw)
        for part in parts:
            part()
        return clip

    def plan(self, draw: Draw) -> tuple[Clip, list[Callable[[], None]]]:
        """The clips of a draw but for their pictures or latents, and the calls, for any threads, that fill those in."""
        frames_BF = draw.first_B[:, None] + np.arange(draw.frames) * draw.stride
        values = np.zeros((*frames_BF.shape, len(self.actions)), np.float32)
        known = np.zeros(values.shape, bool)
        t_ns = np.empty(frames_BF.shape, np.int64)
        poses = np.full((*frames_BF.shape, 7), np.nan, np.float32) if self.posed else None
        content = self.content.room(*frames_BF.shape)
        drifted = self.drifted.room(*frames_BF.shape) if self.drifted else None
        parts = []
        for number in np.unique(draw.reel_B).tolist():
            reel, places = self.reels[number], np.flatnonzero(draw.reel_B == number)
            frames_NF = frames_BF[places]
            assert frames_NF.min() >= 0 and frames_NF.max() < reel.frames, f"a draw outside of {reel.path}"
            t_ns[places] = reel.t_ns[frames_NF]
            for place in places.tolist():
                first = int(draw.first_B[place])
                values[place], known[place] = reel.actions(first, draw.frames, draw.stride, self.actions)
            if poses is not None and "ego_pose" in reel.signals:
                poses[places] = from_first(reel.signals["ego_pose"][frames_NF])
            parts += self.content.parts(number, frames_NF, places, content)
            if self.drifted and drifted is not None:
                parts += self.drifted.parts(number, frames_NF, places, drifted)
        pixels = isinstance(self.content, Pixels)
        clip = Clip(
            frames_BFHWC=content[:, :, 0] if pixels else None,
            z_BTHWC=None if pixels else content,
            actions_BFA=torch.from_numpy(values),
            known_BFA=torch.from_numpy(known),
            t_ns_BF=torch.from_numpy(t_ns),
            video_B=torch.from_numpy(draw.video_B),
            first_B=torch.from_numpy(draw.first_B),
            reel_B=torch.from_numpy(draw.reel_B),
            key_B=torch.from_numpy(draw.key_B),
            views_BFVHWC=content if pixels and content.shape[2] > 1 else None,
            pose_BF7=None if poses is None else torch.from_numpy(poses),
            drifted_BTHWC=drifted,
        )
        return clip, parts
