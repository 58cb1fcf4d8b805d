"""The order of a stream: clips shuffled within windows of blocks, blocks shuffled within lanes; a pure function of the step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roadcast.data.loading.sampler import Draw, permute
from roadcast.data.reel.store import Video
from roadcast.errors import UserError

TO_LANES, TO_BLOCKS, TO_CLIPS = 0, 1, 2
"""What a shuffle is for, the first word of its key after the seed."""


@dataclass(frozen=True)
class Blocks:
    """Runs of frames of one recording each, cut so that every clip lies inside just one: int64 [N] each.

    video_N   index of the recording; first_N  the first frame in the reel
    clips_N   clips that begin in the block, at its first frames; span  frames of the reel from a clip's first to its last
    """

    video_N: np.ndarray
    first_N: np.ndarray
    clips_N: np.ndarray
    span: int

    @classmethod
    def of(cls, videos: list[Video], split: str, span: int, clips: int) -> "Blocks":
        """Blocks of at most `clips` clips of `span` frames; a `UserError` if no recording of the split has one."""
        rows = [(i, v.first, v.frames - span + 1) for i, v in enumerate(videos) if v.split == split]
        video_V, first_V, clips_V = np.array(rows, np.int64).reshape(-1, 3).T
        blocks_V = np.maximum(0, -(-clips_V // clips))
        if not blocks_V.sum():
            raise UserError(
                f"split {split!r} has no recording of {span} frames; use shorter clips, or ingest longer recordings"
            )
        of_N = np.repeat(np.arange(len(rows)), blocks_V)
        start_N = (np.arange(len(of_N)) - np.repeat(np.cumsum(blocks_V) - blocks_V, blocks_V)) * clips
        return cls(video_V[of_N], first_V[of_N] + start_N, np.minimum(clips, clips_V[of_N] - start_N), span)

    def __len__(self) -> int:
        return len(self.first_N)

    def frames(self, block: int) -> tuple[int, int]:
        """First and end of the block's frames in the reel."""
        first = int(self.first_N[block])
        return first, first + int(self.clips_N[block]) + self.span - 1


@dataclass(frozen=True)
class Window:
    """The clips of some blocks in their shuffled order: block_M and first frame first_M, int64 [M]."""

    block_M: np.ndarray
    first_M: np.ndarray

    def part(self, start: int, end: int | None = None) -> "Window":
        return Window(self.block_M[start:end], self.first_M[start:end])


@dataclass(frozen=True)
class BlockOrder:
    """The endless order of a stream's batches.

    The blocks are dealt, shuffled, to `lanes`, once for all. In every epoch of a lane its blocks are shuffled, `window` of
    them after another are opened together, and their clips are shuffled. Batch n of all ranks is of lane n modulo `lanes`;
    so, while ranks x workers divides `lanes`, the sequence of batches does not depend on them, and no two read one block.
    Each lane begins its next epoch when its clips are used up: an epoch of all lanes is every clip once.
    """

    blocks: Blocks
    seed: int
    lanes: int
    window: int
    batch: int
    frames: int
    stride: int = 1

    def draw(self, number: int) -> Draw:
        """Batch `number` of the sequence of all ranks."""
        clips = next(in_batches(self.windows(*self.place_of(number)), self.batch))
        return self.draw_of(number, clips)

    def draw_of(self, number: int, clips: Window) -> Draw:
        """Batch `number` as a draw, given its clips."""
        keys = number * self.batch + np.arange(self.batch)
        videos = self.blocks.video_N[clips.block_M]
        return Draw(np.zeros_like(keys), videos, clips.first_M, keys, self.frames, self.stride)

    def place_of(self, number: int) -> tuple[int, int]:
        """The lane of batch `number`, and how many clips the lane gave before it."""
        return number % self.lanes, number // self.lanes * self.batch

    def windows(self, lane: int, place: int) -> Iterator[Window]:
        """What a lane gives from clip number `place` on, window by window, without end."""
        many = len(self.blocks)
        mine = permute(np.arange(lane, many, self.lanes), many, self.seed, TO_LANES)
        epoch, place = divmod(place, int(self.blocks.clips_N[mine].sum()))
        while True:
            shuffled = mine[permute(np.arange(len(mine)), len(mine), self.seed, TO_BLOCKS, lane, epoch)]
            ends = np.cumsum(self.blocks.clips_N[shuffled])
            first = int(np.searchsorted(ends, place, side="right")) // self.window
            for number in range(first, -(-len(mine) // self.window)):
                begin = number * self.window
                window = self._window(shuffled[begin : begin + self.window], lane, epoch, number)
                yield window.part(max(0, place - int(ends[begin - 1] if begin else 0)))
            epoch, place = epoch + 1, 0

    def _window(self, block_W: np.ndarray, lane: int, epoch: int, number: int) -> Window:
        ends_W = np.cumsum(self.blocks.clips_N[block_W])
        clip_M = permute(np.arange(ends_W[-1]), int(ends_W[-1]), self.seed, TO_CLIPS, lane, epoch, number)
        which_M = np.searchsorted(ends_W, clip_M, side="right")
        start_M = clip_M - (ends_W - self.blocks.clips_N[block_W])[which_M]
        return Window(block_W[which_M], self.blocks.first_N[block_W[which_M]] + start_M)


def in_batches(windows: Iterator[Window], batch: int) -> Iterator[Window]:
    """The clips of windows in pieces of `batch`."""
    rest = Window(np.zeros(0, np.int64), np.zeros(0, np.int64))
    for window in windows:
        joined = Window(np.concatenate([rest.block_M, window.block_M]), np.concatenate([rest.first_M, window.first_M]))
        whole = len(joined.block_M) // batch * batch
        for start in range(0, whole, batch):
            yield joined.part(start, start + batch)
        rest = joined.part(whole)
