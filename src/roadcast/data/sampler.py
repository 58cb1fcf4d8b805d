"""Which clips come in which batch: a pure function of seed and step, so any worker, rank or resumed run finds the same."""

import hashlib
from dataclasses import dataclass

import numpy as np

from roadcast.data.store import Video
from roadcast.errors import UserError


def permute(index: int, size: int, key: int) -> int:
    """The place of `index` in a shuffle of range(size), without making the shuffle.

    A four-round Feistel network on the next even number of bits, walked until it falls inside the range
    (Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 4).
    """
    half = max(1, (size - 1).bit_length() + 1 >> 1)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for round_ in range(4):
            digest = hashlib.blake2b(b"%d,%d,%d" % (key, round_, right), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        index = left << half | right
        if index < size:
            return index


@dataclass(frozen=True)
class Draw:
    """Which clips make one batch: one entry a clip, int64 [B], and what all of them share.

    reel_B   number of the reel in a mixture (0 where there is one reel)
    video_B  index of the recording in its reel; first_B  the clip's first frame in the reel
    key_B    the clip's place in the one global sequence of samples of all ranks: never twice the same, so that whatever is
             drawn for it (augmentation) depends on nothing else
    frames   frames a clip; stride  the reel's frames from one to the next
    """

    reel_B: np.ndarray
    video_B: np.ndarray
    first_B: np.ndarray
    key_B: np.ndarray
    frames: int
    stride: int = 1


@dataclass(frozen=True)
class ClipTable:
    """All clips of a fixed span in some recordings: clip i is found by arithmetic, no list of clips is kept."""

    first_V: np.ndarray
    ends_V: np.ndarray
    video_V: np.ndarray

    @classmethod
    def of(cls, videos: list[Video], split: str, span: int) -> "ClipTable":
        """Every run of `span` frames that lies inside one recording of `split`.

        Raises `UserError` when no recording of the split is that long.
        """
        rows = [(i, v) for i, v in enumerate(videos) if v.split == split and v.frames >= span]
        if not rows:
            longest = max((v.frames for v in videos if v.split == split), default=0)
            raise UserError(
                f"split {split!r} has no recording of {span} frames, the longest has {longest}; "
                "use shorter clips (train.<stage>.clip_frames), or ingest longer recordings or another split"
            )
        counts = np.array([v.frames - span + 1 for _, v in rows])
        return cls(np.array([v.first for _, v in rows]), np.cumsum(counts), np.array([i for i, _ in rows]))

    def __len__(self) -> int:
        return int(self.ends_V[-1])

    def find(self, clip: int) -> tuple[int, int]:
        """(index of the recording, index of the first frame in the reel) of a clip."""
        place = int(np.searchsorted(self.ends_V, clip, side="right"))
        start = int(self.ends_V[place - 1]) if place else 0
        return int(self.video_V[place]), int(self.first_V[place]) + clip - start


@dataclass(frozen=True)
class Order:
    """The endless shuffled order of clips: epoch e is a permutation keyed by the seed and e; ranks take turns in each batch."""

    clips: int
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def batch_at(self, step: int) -> list[int]:
        """The clips of this rank's batch number `step`."""
        start = (step * self.ranks + self.rank) * self.batch
        places = [divmod(i, self.clips) for i in range(start, start + self.batch)]
        return [permute(place, self.clips, self.seed << 32 | epoch) for epoch, place in places]
