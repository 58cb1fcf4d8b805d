"""The pictures of an evaluation: strips of chosen horizons, and the side-by-side animation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadcast.evaluation.video_io import GAP_GREY, enlarge, stack, strip

ROWS = {"real": "real", "model": "generated", "reconstruction": "tokenizer"}
ANIMATION_WIDTH = 256
HOLD = 8
REAL_COLOUR, IMAGINED_COLOUR = (110, 116, 128), (242, 122, 32)


@dataclass(frozen=True)
class Shown:
    """A few clips kept as pictures.

    clips    their positions in the protocol's clip list
    frames   [real | model | reconstruction] uint8 videos [1 + horizon, H, W, 3], frame 0 the last of the context
    """

    clips: list[int]
    frames: dict[str, list[np.ndarray]]


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
