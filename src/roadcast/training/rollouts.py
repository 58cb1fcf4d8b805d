"""What a world imagines of the recordings it learns from, kept beside the true latents: drifted pasts at the price of reading them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roadcast.data.loading.latents import LatentReel, write_once
from roadcast.data.reel.store import Reel
from roadcast.flow.world import World
from roadcast.objectives.base import Stored
from roadcast.safetensors import sha256_of

ROWS = 16
"""Rollouts side by side."""


def cached_rollouts(
    world: World, reel: Reel, true: LatentReel, path: Path, stored: Stored, seed: int, progress: Callable[[int, int], None],
) -> LatentReel:  # fmt: skip
    """The training recordings of `reel` as `world` imagines them under their own commands, made once and kept in `path`.

    Each recording is cut into pieces of `stored.depth` frames. A piece begins with `stored.context` true frames, `true` having them,
    and the rest is imagined, so that frame f has drifted for `f mod depth - context + 1` frames. The noise of a piece depends on
    `seed` and its first frame alone. Rows of other recordings are zero. A cache of another reel, world or seed is made anew.
    """
    key = "-".join(map(str, (reel.fingerprint, sha256_of(world.state_dict().values()), *astuple(stored), seed)))

    @torch.no_grad()
    def imagined() -> Iterator[tuple[int, Tensor]]:
        rollout, done = world.rollout(stored.steps), 0
        found = pieces(reel, stored.depth)
        total = sum(frames * len(firsts) for frames, firsts in found.items())
        for frames, firsts in found.items():
            for some in (firsts[n : n + ROWS] for n in range(0, len(firsts), ROWS)):
                z = np.stack([true.z_THWC[f : f + min(stored.context, frames)] for f in some])
                given = torch.from_numpy(z).float().to(world.device)
                commands = zip(*(reel.actions(f, frames, 1, world.actions) for f in some), strict=True)
                actions, known = (torch.from_numpy(np.stack(x)).to(world.device) for x in commands)
                seeds = [(seed << 32) + f for f in some]
                z_BTHWC = torch.cat([given, *rollout.unroll(given, actions, known, seeds)], dim=1)
                yield from zip(some, z_BTHWC, strict=True)
                done += frames * len(some)
                progress(done, total)

    return write_once(path, key, reel.frames, imagined)


def pieces(reel: Reel, depth: int) -> dict[int, list[int]]:
    """The training recordings cut into pieces of `depth` frames, the last of each of what is left: {frames: their first frames}."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for video in reel.videos:
        end = video.first + video.frames if video.split == "train" else video.first
        for first in range(video.first, end, depth):
            found[min(depth, end - first)].append(first)
    return found
