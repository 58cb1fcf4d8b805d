"""Which frames a pass along time looks from, which it looks at, and where all of them stand.

Axes: B rows, T new frames, S keys (frames in the cache, then the new ones), P tokens a frame, K head dim.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .attend import attend
from .kv_cache import KVCache
from .mask import NEVER, FrameMask
from .rope import RopeScaling, Tables, rope_tables


@dataclass
class Sight:
    """Which frames one pass looks from and which it looks at, and where they stand: the same for all its time layers.

    q_frame_BT, k_frame_BS  numbers of the new frames, and of the cached ones and the new ones after them
    q_tables, k_tables      rotary tables [B, P or 1, 1, T or S, K / 2], time counted from the first new frame
    q_sinks, k_sinks        the same where queries look at sinks and keys are sinks; None where the mask has none
    read                    how queries read keys: `attend`, or `ring_attend` where other frames of the clip lie on other ranks
    """

    mask: FrameMask
    q_frame_BT: Tensor
    k_frame_BS: Tensor
    q_tables: Tables
    k_tables: Tables
    q_sinks: Tables | None = None
    k_sinks: Tables | None = None
    read: Callable[..., Tensor] = attend


class TimeRope:
    """Rotary tables of frames at positions in time, for every place at once, or with the place as two more axes.

    places_P2  height and width of each token's place, where attention reaches other places; None where it does not
    """

    def __init__(self, head_dim: int, places_P2: Tensor | None, scaling: RopeScaling):
        self.head_dim, self.places_P2, self.scaling = head_dim, places_P2, scaling

    def __call__(self, time_BS: Tensor) -> Tables:
        """Tables [B, P or 1, 1, S, K / 2]."""
        t_B1S1 = time_BS[:, None, :, None].float()
        if self.places_P2 is None:
            positions = t_B1S1
        else:
            (batch, frames), places = time_BS.shape, len(self.places_P2)
            positions = torch.cat(
                [
                    t_B1S1.expand(-1, places, -1, -1),
                    self.places_P2[None, :, None].expand(batch, -1, frames, -1),
                ],
                dim=-1,
            )
        cos, sin = rope_tables(positions, self.head_dim, scaling=self.scaling)
        return cos[:, :, None], sin[:, :, None]


def look(mask: FrameMask, rope: TimeRope, frames: int, cache: KVCache | None, like: Tensor, first: int = 0) -> Sight:
    """The sight of a pass over `frames` new frames after those in `cache`; None: the frames of all rows from number `first` on.

    A sink is turned by its true distance as long as that is within the mask's reach, and stands still at the end of it after
    (Xiao et al. 2024, StreamingLLM, section 3.2: positions within the cache, not in the text).
    """
    now_B1 = like.new_zeros(1, 1, dtype=torch.long) if cache is None else cache.frame_B[:, None]
    q_frame_BT = now_B1 + torch.arange(first, first + frames, device=like.device)
    k_frame_BS = q_frame_BT if cache is None else torch.cat([cache.frames_BS(), q_frame_BT], dim=1)
    near_BS = torch.where(k_frame_BS == NEVER, now_B1, k_frame_BS) - now_B1
    sight = Sight(mask, q_frame_BT, k_frame_BS, rope(q_frame_BT - now_B1), rope(near_BS))
    if mask.sinks:
        assert mask.window is not None
        sight.q_sinks, sight.k_sinks = rope(q_frame_BT.clamp(max=mask.window)), rope(k_frame_BS.clamp(max=mask.sinks))
    return sight
