"""A reel read as a stream: blocks of bytes read ahead, clips shuffled among those at hand, memory bounded, resumable."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from roadcast.data.clip import Clip
from roadcast.data.loading.prefetch import AHEAD, by_threads
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw
from roadcast.data.streaming.block_order import BlockOrder, Blocks, Window, in_batches
from roadcast.data.streaming.streamed_reel import Run, StreamedReel
from roadcast.errors import UserError


class Stream:
    """The endless shuffled batches of one split of a reel that lies anywhere and never is in memory as a whole.

    Blocks of consecutive frames are read by byte ranges, `window` of them at a time in each of `lanes`, and the next ones
    while these are used; see `BlockOrder` for the order. It is a function of the arguments and not of ranks, workers or
    threads, as long as ranks x workers (or ranks, without workers) divides `lanes`; then no two read the same block.
    Iterating goes on from where it was left; `state_dict` and `load_state_dict` carry that over to another process, which
    loads what it needs from there on and nothing of what came before.

    address      a reel's path, or its address as fsspec takes it: http://..., s3://..., memory://...
    frames       frames a clip; stride  take every n-th of the reel; size  (height, width) if not the reel's
    batch        clips a batch of this rank
    block_clips  clips that begin in one block; it is as many frames long, and those of its last clip
    workers      processes that read and decode, each with `threads`; 0 for threads of this process alone
    threads      of each process: as many to fetch, as many to decode
    cache        where a remote reel's tables are kept, and up to `cache_bytes` of its blocks; ~/.cache/roadcast if not given
    Raises `UserError` for a reel that cannot be read, for a split without such clips, and for lanes that cannot be.
    """

    def __init__(
        self, address: str | Path, split: str, frames: int, batch: int, actions: tuple[str, ...], seed: int,
        *, stride: int = 1, size: tuple[int, int] | None = None, block_clips: int = 64, window: int = 8, lanes: int = 4,
        rank: int = 0, ranks: int = 1, workers: int = 0, threads: int = 2,
        cache: Path | None = None, cache_bytes: int = 0,
    ):  # fmt: skip
        self.reel = StreamedReel(address, cache, cache_bytes)
        try:
            blocks = Blocks.of(self.reel.videos, split, (frames - 1) * stride + 1, block_clips)
        except UserError as error:
            raise UserError(f"{address}: {error}") from None
        self.order = BlockOrder(blocks, seed, lanes, window, batch, frames, stride)
        self.actions, self.size = actions, size
        self.rank, self.ranks, self.workers, self.threads = rank, ranks, workers, threads
        self.step = 0
        readers = ranks * max(1, workers)
        if lanes % readers:
            raise UserError(
                f"lanes = {lanes} cannot be shared by {readers} readers ({ranks} ranks, {workers} workers); "
                f"give a multiple, such as {readers * -(-lanes // readers)}, and the same for all runs that shall agree"
            )
        if len(blocks) < lanes:
            raise UserError(
                f"{address}: split {split!r} has {len(blocks)} blocks for {lanes} lanes; give fewer lanes, or a smaller block_clips"
            )

    def draw(self, step: int) -> Draw:
        """Which clips this rank's batch of a step has."""
        return self.order.draw(step * self.ranks + self.rank)

    def __iter__(self) -> Iterator[Clip]:
        """Batches from `step` on, without end; `step` counts them as they are handed over."""
        clips = self._by_workers() if self.workers else self._clips(range(self.step, 2**62))
        for clip in clips:
            self.step += 1
            yield clip

    def state_dict(self) -> dict[str, Any]:
        """How far this rank has come, and of which sequence."""
        return {"step": self.step, "sequence": self._sequence()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the stream that gave `state` would have; a `UserError` if that had other data or settings."""
        if state["sequence"] != self._sequence():
            raise UserError(
                f"{self.reel.folder.address}: the state is of a stream of other data or with other settings (seed, batch, frames, "
                "stride, block_clips, window, lanes, ranks); use the same, or begin anew"
            )
        self.step = state["step"]

    def bytes_at_most(self) -> int:
        """Bytes that a process of this rank holds at most at a time, in blocks and in decoded batches."""
        order, blocks = self.order, self.order.blocks
        index, views = self.reel.index, len(self.reel.cameras)
        ends = blocks.first_N + blocks.clips_N + blocks.span - 1
        sizes = np.sort(
            index["offset"][ends * views - 1]
            + index["length"][ends * views - 1]
            - index["offset"][blocks.first_N * views]
        )
        lanes = order.lanes // (self.ranks * max(1, self.workers))
        height, width = self.size or (self.reel.height, self.reel.width)
        batch = order.batch * order.frames * views * height * width * 3
        return int(sizes[-2 * order.window * lanes :].sum()) + (AHEAD + 2) * (batch + order.batch * int(sizes[-1]))

    def _sequence(self) -> str:
        order = self.order
        settings = (
            order.seed,
            order.lanes,
            order.window,
            order.batch,
            order.frames,
            order.stride,
            self.rank,
            self.ranks,
        )
        digest = hashlib.sha256(repr((self.reel.fingerprint, settings)).encode())
        for array in (order.blocks.first_N, order.blocks.clips_N):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _clips(self, steps: range) -> Iterator[Clip]:
        """The batches of these steps, by this process."""
        with Pool(self.reel, self.order.blocks, self.threads) as pool:
            reader = Reader([self.reel], self.actions, size=self.size)
            draws = self._draws(steps, pool)
            for clip in by_threads(reader, draws, self.threads):
                yield clip
                pool.release()

    def _draws(self, steps: range, pool: "Pool") -> Iterator[Draw]:
        """The draws of these steps, each when its blocks are at hand."""
        lanes: dict[int, Iterator[Window]] = {}
        for step in steps:
            number = step * self.ranks + self.rank
            lane, place = self.order.place_of(number)
            if lane not in lanes:
                windows = pool.ahead(self.order.windows(lane, place))
                lanes[lane] = in_batches(windows, self.order.batch)
            clips = next(lanes[lane])
            pool.wait(clips)
            yield self.order.draw_of(number, clips)

    def _by_workers(self) -> Iterator[Clip]:
        loader = DataLoader(
            _Share(self),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=2,
        )
        for item in loader:
            if isinstance(item, UserError):
                raise item
            yield item


class _Share(IterableDataset):
    """What one of a stream's worker processes reads: every so-many-th batch; an error goes to the user as it is."""

    def __init__(self, stream: Stream):
        self.stream = stream

    def __iter__(self) -> Iterator[Clip | UserError]:
        info = get_worker_info()
        assert info is not None
        try:
            yield from self.stream._clips(range(self.stream.step + info.id, 2**62, info.num_workers))
        except UserError as error:
            yield error


@dataclass
class _Block:
    """A block that is asked for: clips yet to be drawn from it, its bytes on their way, and then they themselves."""

    uses: int
    coming: "Future[list[Run]] | None" = None
    runs: list[Run] | None = None


class Pool:
    """The blocks at hand: fetched in threads once their window is announced, let go when their last clip was read.

    Those that are waited for go first; besides them no more than QUEUED a thread are under way.
    """

    QUEUED = 2

    def __init__(self, reel: StreamedReel, blocks: Blocks, threads: int):
        self.reel, self.blocks = reel, blocks
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._room = self.QUEUED * threads
        self._lock = threading.RLock()
        self._held: dict[int, _Block] = {}
        self._later: deque[int] = deque()
        self._under_way = 0
        self._waited_for: deque[np.ndarray] = deque()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._later.clear()
        self._threads.shutdown(cancel_futures=True)
        for number, block in self._held.items():
            if block.runs is not None:
                self.reel.dismiss(self._shard_of(number), block.runs)

    def ahead(self, windows: Iterator[Window]) -> Iterator[Window]:
        """The windows, each given when the one after it has been announced."""
        current = next(windows)
        self._announce(current)
        for following in windows:
            self._announce(following)
            yield current
            current = following

    def wait(self, clips: Window) -> None:
        """Return when the blocks of these clips are at hand."""
        numbers = np.unique(clips.block_M).tolist()
        with self._lock:
            for number in numbers:
                self._send_for(number)
        for number in numbers:
            block = self._held[number]
            if block.runs is None:
                assert block.coming is not None
                block.runs, block.coming = block.coming.result(), None
                self.reel.admit(self._shard_of(number), block.runs)
        self._waited_for.append(clips.block_M)

    def release(self) -> None:
        """The oldest clips waited for have been read."""
        for number in self._waited_for.popleft().tolist():
            block = self._held[number]
            block.uses -= 1
            if not block.uses:
                assert block.runs is not None
                self.reel.dismiss(self._shard_of(number), block.runs)
                del self._held[number]

    def _announce(self, window: Window) -> None:
        numbers, firsts, uses = np.unique(window.block_M, return_index=True, return_counts=True)
        with self._lock:
            for place in np.argsort(firsts):
                number = int(numbers[place])
                if number not in self._held:
                    self._held[number] = _Block(0)
                    self._later.append(number)
                self._held[number].uses += int(uses[place])
            self._send_more()

    def _send_more(self) -> None:
        while self._later and self._under_way < self._room:
            self._send_for(self._later.popleft())

    def _send_for(self, number: int) -> None:
        block = self._held.get(number)
        if block is None or block.coming is not None or block.runs is not None:
            return
        self._under_way += 1
        block.coming = self._threads.submit(self.reel.load, *self.blocks.frames(number))
        block.coming.add_done_callback(self._one_came)

    def _one_came(self, _: object) -> None:
        with self._lock:
            self._under_way -= 1
            self._send_more()

    def _shard_of(self, number: int) -> int:
        return int(self.reel.index["shard"][int(self.blocks.first_N[number]) * len(self.reel.cameras)])
