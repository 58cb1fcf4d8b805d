"""Batches of clips in an order that can be resumed at any step, read ahead as the machine does it best."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from roadcast.data.clip import Clip
from roadcast.data.loading.latents import LatentReel
from roadcast.data.loading.prefetch import TRIAL, by_processes, by_threads, cores, pace
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw, Sampler
from roadcast.data.reel.store import Reel

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
    """The clips of one split of a reel or a mixture, shuffled, as pixels or, given latent caches, as latents.

    frames, weights, fps, rank, ranks  as `Sampler` takes them; size  (height, width) if not the reels'
    latents, drifted                   a cache for each reel
    """

    def __init__(
        self, reels: Sequence[Reel], split: str, frames: int | Sequence[tuple[int, int]], batch: int,
        actions: tuple[str, ...], seed: int, *, weights: Sequence[float] | None = None, fps: float | None = None,
        size: tuple[int, int] | None = None, latents: Sequence[LatentReel] | None = None,
        drifted: Sequence[LatentReel] | None = None, rank: int = 0, ranks: int = 1,
    ):  # fmt: skip
        sampler = Sampler(reels, split, frames, batch, seed, weights=weights, fps=fps, rank=rank, ranks=ranks)
        super().__init__(Reader(reels, actions, size=size, latents=latents, drifted=drifted), sampler.draw)


def read_clips(
    reel: Reel, found: list[tuple[int, int]], frames: int, actions: tuple[str, ...],
    *, stride: int = 1, latents: LatentReel | None = None,
) -> Clip:  # fmt: skip
    """The clips that begin at (recording, first frame) each; their keys are their places in the list."""
    places = np.array(found, np.int64).reshape(-1, 2)
    zeros, keys = np.zeros(len(places), np.int64), np.arange(len(places))
    draw = Draw(zeros, places[:, 0], places[:, 1], keys, frames, stride)
    return Reader([reel], actions, latents=[latents] if latents else None).read(draw)
