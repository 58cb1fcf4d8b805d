"""The pictures of an evaluation: strips of chosen horizons, and the side-by-side animation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.evaluation.video_io import GAP_GREY, enlarge, stack, strip

ROWS = {"real": "real", "model": "generated", "reconstruction": "tokenizer"}
ANIMATION_WIDTH = 256
HOLD = 8
SPREAD, WORST = 4, 4
"""Clips kept as pictures: evenly from the list, and those that were missed by most."""
REAL_COLOUR, IMAGINED_COLOUR = (110, 116, 128), (242, 122, 32)


@dataclass(frozen=True)
class Shown:
    """A few clips kept as pictures.

    clips    their positions in the protocol's clip list
    frames   [real | model | reconstruction] uint8 videos [1 + horizon, H, W, 3], frame 0 the last of the context
    """

    clips: list[int]
    frames: dict[str, list[np.ndarray]]


class Gallery:
    """The clips of an evaluation that are kept as pictures while all go by."""

    def __init__(self, clips: int):
        kept = min(SPREAD, clips)
        self._places = {(2 * i + 1) * clips // (2 * kept) for i in range(kept)}
        self._spread: dict[int, dict[str, np.ndarray]] = {}
        self._worst: list[tuple[float, int, dict[str, np.ndarray]]] = []

    def add(self, clip: int, lost: float, videos: dict[str, np.ndarray]) -> None:
        """Number `clip` of the list, missed by `lost` (more is worse), as uint8 videos [1 + horizon, H, W, 3] by system."""
        if clip in self._places:
            self._spread[clip] = _kept(videos)
        if len(self._worst) < WORST or lost > self._worst[-1][0]:
            self._worst.append((lost, clip, _kept(videos)))
            self._worst = sorted(self._worst, key=lambda found: -found[0])[:WORST]

    @property
    def spread(self) -> Shown:
        """Those evenly from the list."""
        clips = sorted(self._spread)
        return Shown(clips, _by_system([self._spread[clip] for clip in clips]))

    @property
    def worst(self) -> Shown:
        """Those missed by most, the worst first."""
        return Shown([clip for _, clip, _ in self._worst], _by_system([videos for *_, videos in self._worst]))


def _kept(videos: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {system: videos[system].copy() for system in ROWS}


def _by_system(clips: list[dict[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    return {system: [videos[system] for videos in clips] for system in ROWS}


def strip_rows(shown: Shown, horizons: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """For each clip and each row (real, generated, tokenizer) one image: the last context frame, then each horizon."""
    columns = [0, *horizons]
    count = len(shown.clips)
    return [{row: strip([shown.frames[s][i][h] for h in columns]) for s, row in ROWS.items()} for i in range(count)]


def animation_frames(shown: Shown) -> list[np.ndarray]:
    """Real video on the left, the imagined on the right, one clip below the other, a bar filling as time passes.

    The first and the last frame are held for `HOLD` frames, so that the loop can be read.
    """
    pairs = list(zip(shown.frames["real"], shown.frames["model"]))
    length = len(pairs[0][0])
    order = [0] * HOLD + list(range(1, length)) + [length - 1] * HOLD
    return [stack([_pair(real[f], made[f], f / (length - 1), f == 0) for real, made in pairs], gap=6) for f in order]


def _pair(real_HWC: np.ndarray, made_HWC: np.ndarray, passed: float, context: bool) -> np.ndarray:
    both = strip([enlarge(real_HWC, ANIMATION_WIDTH), enlarge(made_HWC, ANIMATION_WIDTH)], gap=6)
    bar = np.full((4, both.shape[1], 3), GAP_GREY, dtype=np.uint8)
    bar[:, : round(passed * both.shape[1])] = REAL_COLOUR if context else IMAGINED_COLOUR
    return np.concatenate([both, bar])
