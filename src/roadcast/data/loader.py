"""Batches of clips, read from the memory map and decoded in workers, in an order that can be resumed at any step."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from roadcast.data.clip import Clip
from roadcast.data.latents import LatentReel
from roadcast.data.sampler import ClipTable, Order
from roadcast.data.store import Reel


class Clips(Dataset):
    """Batch number `step` of an order of clips, as pixels or, given a latent cache, as latents.

    frames  pixel frames a clip; stride  take every n-th frame of the reel
    """

    def __init__(
        self, reel: Reel, split: str, frames: int, batch: int, actions: tuple[str, ...], seed: int,
        *, stride: int = 1, latents: LatentReel | None = None, rank: int = 0, ranks: int = 1,
    ):  # fmt: skip
        self.reel, self.frames, self.stride, self.actions, self.latents = reel, frames, stride, actions, latents
        self.table = ClipTable.of(reel.videos, split, (frames - 1) * stride + 1)
        self.order = Order(len(self.table), batch, seed, rank, ranks)

    def __getitem__(self, step: int) -> Clip:
        found = [self.table.find(clip) for clip in self.order.batch_at(step)]
        return read_clips(self.reel, found, self.frames, self.actions, stride=self.stride, latents=self.latents)

    def batches(self, first: int, last: int, workers: int = 0) -> Iterator[Clip]:
        """Batches `first` to `last - 1`; with workers, read ahead in as many persistent processes."""
        loader = DataLoader(
            self, batch_size=None, sampler=range(first, last), num_workers=workers,
            persistent_workers=workers > 0, pin_memory=torch.cuda.is_available(), prefetch_factor=4 if workers else None,
        )  # fmt: skip
        return iter(loader)


def read_clips(
    reel: Reel, found: list[tuple[int, int]], frames: int, actions: tuple[str, ...],
    *, stride: int = 1, latents: LatentReel | None = None,
) -> Clip:  # fmt: skip
    """The clips that begin at (recording, first frame) each, decoded straight into one batch."""
    batch = len(found)
    pixels = None if latents else np.empty((batch, frames, reel.height, reel.width, 3), np.uint8)
    values = np.empty((batch, frames, len(actions)), np.float32)
    known = np.empty((batch, frames, len(actions)), bool)
    t_ns = np.empty((batch, frames), np.int64)
    for b, (_, first) in enumerate(found):
        values[b], known[b] = reel.actions(first, frames, stride, actions)
        t_ns[b] = reel.t_ns[first : first + (frames - 1) * stride + 1 : stride]
        if pixels is not None:
            for f in range(frames):
                reel.read(first + f * stride, out=pixels[b, f])
    return Clip(
        frames_BFHWC=None if pixels is None else torch.from_numpy(pixels),
        z_BTHWC=latents.read([first for _, first in found], frames, stride) if latents else None,
        actions_BFA=torch.from_numpy(values),
        known_BFA=torch.from_numpy(known),
        t_ns_BF=torch.from_numpy(t_ns),
        video_B=torch.tensor([video for video, _ in found]),
        first_B=torch.tensor([first for _, first in found]),
    )
