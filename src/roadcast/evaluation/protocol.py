"""The evaluation protocol: everything that must be equal for two scores to be comparable, kept with every score."""

import dataclasses
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol as Interface

import numpy as np
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.data.loading import loader
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.metrics.catalogue import METRICS

VERSION = 2
HORIZONS = (1, 2, 4, 8, 16, 32)


class World(Interface):
    """What is evaluated: a tokenizer and a dynamics model behind two functions of uint8 RGB frames."""

    @property
    def fps(self) -> float: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def actions(self) -> tuple[str, ...]: ...

    def reconstruct(self, frames_BFHWC: Tensor) -> Tensor:
        """The frames through the tokenizer alone, of the same shape."""
        ...

    def imagine(
        self, frames_BFHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seeds: list[int], steps: int | None = None
    ) -> Tensor:
        """The frames after the given context, one for each further row of `actions_BFA`: [B, horizon, H, W, 3]."""
        ...


@dataclass(frozen=True)
class Protocol:
    """How a score was measured; two scores compare only when theirs are equal, but for what is being compared.

    dataset      fingerprint of the reel
    clips        first frame of every clip in the reel, at the reel's rate
    stride       reel frames a model frame
    context      real frames given, at the model's rate
    horizon      frames imagined
    horizons     those of them shown in tables
    steps        sampling steps a frame, None for the model's own default
    seed         clip i draws its noise from seed + i
    metrics      version of every metric that is measured
    networks     identity of each network that looks at frames, by the name of what it gives: a distance of sets, a metric, a judgement
    """

    dataset: str
    split: str
    recordings: int
    clips: tuple[int, ...]
    fps: float
    stride: int
    height: int
    width: int
    actions: tuple[str, ...]
    context: int
    horizon: int
    horizons: tuple[int, ...]
    steps: int | None
    seed: int
    metrics: dict[str, int]
    networks: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    @property
    def frames(self) -> int:
        """Frames of one clip, context and horizon."""
        return self.context + self.horizon

    def seeds(self, indices: Sequence[int]) -> list[int]:
        """The noise seed of each clip of the list."""
        return [self.seed + i for i in indices]

    def to_dict(self) -> dict:
        """The protocol as JSON types."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


def make_protocol(
    world: World, reel: Reel, *, split: str, clips: int, context: int, horizon: int, steps: int | None, seed: int,
    metrics: Sequence[str] = (), networks: Mapping[str, str] = MappingProxyType({}),
) -> Protocol:  # fmt: skip
    """The protocol for this model on this split: `clips` clips, evenly spread over all places where one fits.

    Every clip lies inside one recording. The starts that fit, of all recordings one after another, are cut into
    `clips` equal parts and the middle of each is taken, so that a recording gets clips by its length and the choice
    depends on nothing but the reel and the numbers. Where fewer starts fit than asked for, all are taken.

    Raises: UserError when sizes or rates of model and reel differ, the split is empty, or no recording is long enough.
    """
    for name, value, low in (("clips", clips, 2), ("context", context, 1), ("horizon", horizon, 1)):
        if value < low:
            raise UserError(f"{name}={value} is too small for an evaluation; use at least {low}")
    if (reel.height, reel.width) != (world.height, world.width):
        raise UserError(
            f"{reel.path}: frames are {reel.height}x{reel.width} but the model sees {world.height}x{world.width}; "
            f"ingest the recordings again at {world.height}x{world.width}"
        )
    stride = max(1, round(reel.fps / world.fps))
    if abs(reel.fps / stride - world.fps) > 0.01 * world.fps:
        raise UserError(
            f"{reel.path}: {reel.fps:g} frames a second cannot be thinned to the model's {world.fps:g}; "
            f"ingest the recordings again at {world.fps:g}"
        )
    videos = [video for video in reel.videos if video.split == split]
    if not videos:
        have = ", ".join(sorted({video.split for video in reel.videos})) or "none"
        raise UserError(f"{reel.path}: no recording is in split {split!r}; splits present: {have}")
    span = (context + horizon - 1) * stride + 1
    starts = [np.arange(video.first, video.first + video.frames - span + 1) for video in videos if video.frames >= span]
    longest = max(video.frames for video in videos)
    if sum(map(len, starts)) < 2:
        raise UserError(
            f"{reel.path}: the longest recording of split {split!r} has {longest} frames, but two clips of "
            f"context={context} and horizon={horizon} need {span + 1}; lower them or ingest longer recordings"
        )
    allowed = np.concatenate(starts)
    count = min(clips, len(allowed))
    chosen = allowed[((np.arange(count) + 0.5) * len(allowed) / count).astype(np.int64)]
    used = sum(bool(np.isin(chosen, places).any()) for places in starts)
    return Protocol(
        dataset=reel.fingerprint,
        split=split,
        recordings=used,
        clips=tuple(int(first) for first in chosen),
        fps=float(world.fps),
        stride=stride,
        height=world.height,
        width=world.width,
        actions=tuple(world.actions),
        context=context,
        horizon=horizon,
        horizons=tuple(h for h in HORIZONS if h <= horizon),
        steps=steps,
        seed=seed,
        metrics={name: METRICS[name].version for name in metrics},
        networks=dict(networks),
    )


def read_clips(reel: Reel, protocol: Protocol, indices: Sequence[int]) -> Clip:
    """The protocol's clips of these positions, context and horizon, read from the reel."""
    starts = [video.first for video in reel.videos]
    found = [(bisect_right(starts, first) - 1, first) for first in (protocol.clips[i] for i in indices)]
    return loader.read_clips(reel, found, protocol.frames, protocol.actions, stride=protocol.stride)
