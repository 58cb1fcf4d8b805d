"""Batches of clips in an order that can be resumed at any step, read ahead as the machine does it best."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from roadcast.data.clip import Clip
from roadcast.data.latents import LatentReel
from roadcast.data.prefetch import TRIAL, by_processes, by_threads, cores, pace
from roadcast.data.reader import Reader
from roadcast.data.sampler import ClipTable, Draw, Order
from roadcast.data.store import Reel

Kind = Literal["threads", "processes"]
MEASURED = -1


class Batches(Dataset):
    """Batch number `step` is the clips of `draw_at(step)`."""

    def __init__(self, reader: Reader, draw_at: Callable[[int], Draw]):
        self.reader, self.draw_at = reader, draw_at
        self._quicker: Kind | None = None

    def __getitem__(self, step: int) -> Clip:
        return self.reader.read(self.draw_at(step))

    def batches(self, first: int, last: int, workers: int = 0, kind: Kind = "processes") -> Iterator[Clip]:
        """Batches `first` to `last - 1`, in order; what is in them depends on neither `workers` nor `kind`.

        workers  0 reads each when it is asked for; as many threads or processes read ahead; MEASURED (-1) is one a
                 processor, of the kind that is the faster in a short trial, made once
        """
        if workers == MEASURED:
            workers, kind = cores(), self.quicker(first)
        steps = range(first, last)
        if not workers:
            return (self[step] for step in steps)
        if kind == "threads":
            return by_threads(self.reader, map(self.draw_at, steps), workers)
        return by_processes(self, steps, workers)

    def quicker(self, first: int = 0) -> Kind:
        """The kind of worker, one a processor, that reads batches from `first` on in the least time; measured once."""
        if self._quicker is None:
            trial = range(first, first + 1 + TRIAL)
            times: dict[Kind, float] = {}
            times["threads"] = pace(by_threads(self.reader, map(self.draw_at, trial), cores()))
            times["processes"] = pace(by_processes(self, trial, cores()))
            self._quicker = min(times, key=lambda kind: times[kind])
        return self._quicker


class Clips(Batches):
    """All clips of one split of a reel, shuffled, as pixels or, given a latent cache, as latents.

    frames  pixel frames a clip; stride  take every n-th frame of the reel; size  (height, width) if not the reel's
    """

    def __init__(
        self, reel: Reel, split: str, frames: int, batch: int, actions: tuple[str, ...], seed: int,
        *, stride: int = 1, size: tuple[int, int] | None = None, latents: LatentReel | None = None,
        rank: int = 0, ranks: int = 1,
    ):  # fmt: skip
        super().__init__(Reader([reel], actions, size=size, latents=[latents] if latents else None), self._draw_at)
        self.reel, self.frames, self.stride, self.latents = reel, frames, stride, latents
        self.table = ClipTable.of(reel.videos, split, (frames - 1) * stride + 1)
        self.order = Order(len(self.table), batch, seed, rank, ranks)

    def _draw_at(self, step: int) -> Draw:
        order = self.order
        found = np.array([self.table.find(clip) for clip in order.batch_at(step)], np.int64)
        keys = (step * order.ranks + order.rank) * order.batch + np.arange(order.batch)
        return Draw(np.zeros(order.batch, np.int64), found[:, 0], found[:, 1], keys, self.frames, self.stride)


def read_clips(
    reel: Reel, found: list[tuple[int, int]], frames: int, actions: tuple[str, ...],
    *, stride: int = 1, latents: LatentReel | None = None,
) -> Clip:  # fmt: skip
    """The clips that begin at (recording, first frame) each; their keys are their places in the list."""
    places = np.array(found, np.int64).reshape(-1, 2)
    zeros, keys = np.zeros(len(places), np.int64), np.arange(len(places))
    draw = Draw(zeros, places[:, 0], places[:, 1], keys, frames, stride)
    return Reader([reel], actions, latents=[latents] if latents else None).read(draw)
