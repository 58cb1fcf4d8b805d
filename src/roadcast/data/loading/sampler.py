"""Which clips come in which batch: a pure function of seed and step, so any worker, rank or resumed run finds the same."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.data.loading.mixture import MixedReel, Turns, check_sizes, strides_for
from roadcast.data.reel.store import Video
from roadcast.errors import UserError

ROUNDS = 8


def permute(index_N: np.ndarray, size: int, *key: int) -> np.ndarray:
    """The places of `index_N` in the shuffle of range(size) that `key` names, int64 [N], without making the shuffle.

    index = left * b + right, and by turns left += hash(right) modulo a, right += hash(left) modulo b, where a * b is the
    least such product that holds `size`; an index that falls outside the range goes round again (Black & Rogaway 2002,
    "Ciphers with arbitrary finite domains", sections 4 and 5). Every order of a handful comes up, though not all equally often:
    over keys, their frequencies differ by a third (root mean square) at size 6.
    """
    digest = hashlib.blake2b(",".join(map(str, key)).encode(), digest_size=8 * ROUNDS).digest()
    keys = np.frombuffer(digest, "<u8")
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    out = np.array(index_N, np.uint64, ndmin=1)
    assert size > 0 and (out < size).all(), f"an index is not below {size}"
    outside = np.arange(len(out))
    while len(outside):
        left, right = np.divmod(out[outside], np.uint64(b))
        for i in range(0, ROUNDS, 2):
            left = (left + _hash(right, keys[i])) % np.uint64(a)
            right = (right + _hash(left, keys[i + 1])) % np.uint64(b)
        moved = left * np.uint64(b) + right
        out[outside] = moved
        outside = outside[moved >= size]
    return out.astype(np.int64)


def _hash(x_N: np.ndarray, key: np.uint64) -> np.ndarray:
    """32 bits of each of x_N (uint64) under a key: multiply, fold, multiply, and keep the upper half."""
    x_N = (x_N ^ key) * np.uint64(0x9E3779B97F4A7C15)
    x_N ^= x_N >> np.uint64(32)
    x_N *= np.uint64(0xD6E8FEB86659FD93)
    return x_N >> np.uint64(32)


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


def sequence_hash(draws: Iterable[Draw]) -> str:
    """SHA-256 of the samples of these draws in the order of their keys: equal for all ways to share out one sequence."""
    rows = [
        np.stack([d.key_B, d.reel_B, d.video_B, d.first_B, *np.broadcast_arrays(d.frames, d.stride, d.key_B)[:2]], 1)
        for d in draws
    ]
    table = np.concatenate(rows).astype("<i8")
    return hashlib.sha256(table[np.argsort(table[:, 0], kind="stable")].tobytes()).hexdigest()


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

    def find(self, clip_N: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """(index of the recording, index of the first frame in the reel) of clips."""
        place_N = np.searchsorted(self.ends_V, clip_N, side="right")
        start_N = np.where(place_N > 0, self.ends_V[place_N - 1], 0)
        return self.video_V[place_N], self.first_V[place_N] + clip_N - start_N


def _shuffled(place_N: np.ndarray, size: int, *key: int) -> np.ndarray:
    """What stands at places of an endless sequence that runs through range(size) again and again, each time shuffled anew."""
    epoch_N, index_N = np.divmod(place_N, size)
    out_N = np.empty_like(index_N)
    for epoch in np.unique(epoch_N).tolist():
        here = epoch_N == epoch
        out_N[here] = permute(index_N[here], size, *key, epoch)
    return out_N


@dataclass(frozen=True)
class _Group:
    """Reels of a mixture that are read at one stride: their numbers, their clips, and who gives the next sample."""

    stride: int
    reel_R: np.ndarray
    tables: list[ClipTable]
    turns: Turns


@dataclass(frozen=True)
class _Phase:
    """A stretch of steps with clips of one length; `turns` says which group gives the next step's batch."""

    first_step: int
    frames: int
    groups: list[_Group]
    turns: Turns


class Sampler:
    """The endless sequence of samples of one reel or a weighted mixture of reels; every rank draws its part of each step.

    Sample number k of the sequence is a pure function of the arguments and k, so there is no state but the step. The batch
    of rank r at a step is samples (step * ranks + r) * batch onwards: the sequence is the same for all numbers of ranks and
    workers at one batch of all ranks together.
    Reels take turns by weight (`Turns`): in every beginning of a phase each has its share within one sample. Each goes
    through its own epochs, and gives no clip twice before it gave all.
    A clip has one rate. Where reels of a mixture differ in frame rate, so that they are read at different strides, a step's
    batch comes from reels of one stride, and it is steps of which each stride has its share within one.
    At each step of the curriculum a phase begins, with the clips there are of the new length and epochs from the start.

    reels    to draw from: paths, pictures, rates and recordings
    frames   frames a clip, or a curriculum [(from step, frames), ...], from step 0 on
    batch    clips a step of this rank
    weights  of the reels' samples, in any unit; by number of clips if not given
    fps      frames a second of a clip, whole steps of every reel's; the slowest reel's if not given
    Raises `UserError` for reels of different frame sizes, for rates that do not go into each other, for a reel without clips
    of a length in the split, and for weights or a curriculum that cannot be.
    """

    def __init__(
        self, reels: Sequence[MixedReel], split: str, frames: int | Sequence[tuple[int, int]], batch: int, seed: int,
        *, weights: Sequence[float] | None = None, fps: float | None = None, rank: int = 0, ranks: int = 1,
    ):  # fmt: skip
        assert reels and 0 <= rank < ranks and batch > 0
        check_sizes(reels)
        self.batch, self.seed, self.rank, self.ranks = batch, seed, rank, ranks
        strides = strides_for(reels, fps)
        curriculum = [(0, frames)] if isinstance(frames, int) else list(frames)
        _check_curriculum(curriculum)
        if weights is not None and len(weights) != len(reels):
            raise UserError(f"weights = {list(weights)}: {len(weights)} for {len(reels)} reels; give one for each reel")
        self.phases = [_phase(reels, strides, split, start, length, weights) for start, length in curriculum]
        self._starts = [phase.first_step for phase in self.phases]

    def draw(self, step: int) -> Draw:
        """This rank's part of the batch of a step."""
        number = bisect_right(self._starts, step) - 1
        phase = self.phases[number]
        mine_B = np.arange(self.rank * self.batch, (self.rank + 1) * self.batch)
        together = self.batch * self.ranks
        group_of_step, nth_step = phase.turns.at(np.array(step - phase.first_step))
        group = phase.groups[int(group_of_step)]
        member_B, place_B = group.turns.at(int(nth_step) * together + mine_B)
        video_B, first_B = np.empty((2, self.batch), np.int64)
        for member in np.unique(member_B).tolist():
            table, here = group.tables[member], member_B == member
            clips = _shuffled(place_B[here], len(table), self.seed, number, int(group.reel_R[member]))
            video_B[here], first_B[here] = table.find(clips)
        return Draw(group.reel_R[member_B], video_B, first_B, step * together + mine_B, phase.frames, group.stride)


def _phase(
    reels: Sequence[MixedReel],
    strides: list[int],
    split: str,
    first_step: int,
    frames: int,
    weights: Sequence[float] | None,
) -> _Phase:
    tables = [_table_of(reel, split, (frames - 1) * stride + 1) for reel, stride in zip(reels, strides, strict=True)]
    shares = list(weights or map(len, tables))
    groups = []
    for stride in sorted(set(strides)):
        members = [r for r, s in enumerate(strides) if s == stride]
        turns = Turns.of([shares[r] for r in members])
        groups.append(_Group(stride, np.array(members), [tables[r] for r in members], turns))
    return _Phase(first_step, frames, groups, Turns.of([sum(shares[r] for r in g.reel_R) for g in groups]))


def _table_of(reel: MixedReel, split: str, span: int) -> ClipTable:
    try:
        return ClipTable.of(reel.videos, split, span)
    except UserError as error:
        raise UserError(f"{reel.path}: {error}") from None


def _check_curriculum(curriculum: Sequence[tuple[int, int]]) -> None:
    steps = [step for step, _ in curriculum]
    if not steps or steps[0] != 0 or any(np.diff(steps) <= 0):
        raise UserError(
            f"curriculum {list(curriculum)}: give [from step, frames] pairs, the first from step 0, steps rising"
        )
    for step, frames in curriculum:
        if frames < 1:
            raise UserError(f"curriculum: {frames} frames from step {step}; give 1 or more")
