"""Who sees whom: one rule over frame numbers, for every back-end of attention."""

from dataclasses import dataclass

from torch import Tensor

NEVER = 2**30  # the frame number of a key that does not exist: 600 days ahead at 20 Hz, and its differences fit 32 bits


@dataclass(frozen=True)
class FrameMask:
    """Causal by frame: a query sees the keys of its own frame and of those before it, as far back as the limits allow.

    window  frames a query sees, its own included: `q - k < window`
    chunk   the query's own chunk and the one before: `q // chunk - k // chunk <= 1` (Dai et al. 2019, Transformer-XL,
            section 3.2: a segment attends to itself and to the cached one before it)
    sinks   key frames `0 <= k < sinks` stay in sight whatever `window` and `chunk` say (Xiao et al. 2024, StreamingLLM)

    Where each token is a frame of its own this is the usual triangle. A slot without a key bears the number `NEVER`,
    which causality hides. A limit below 1, or sinks below 0, is a ValueError.
    """

    window: int | None = None
    chunk: int | None = None
    sinks: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("window", self.window, 1), ("chunk", self.chunk, 1), ("sinks", self.sinks, 0)):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")

    def allowed(self, q_frame: Tensor, k_frame: Tensor) -> Tensor:
        """Whether queries at frames `q_frame` see keys at frames `k_frame`: integers that broadcast; returns bool.

        Elementwise alone, so that it also serves scalar by scalar inside a FlexAttention `mask_mod`.
        """
        seen = k_frame <= q_frame
        near = seen
        if self.window is not None:
            near = near & (q_frame - k_frame < self.window)
        if self.chunk is not None:
            near = near & (q_frame // self.chunk - k_frame // self.chunk <= 1)
        return near | (seen & (k_frame >= 0) & (k_frame < self.sinks)) if self.sinks else near
