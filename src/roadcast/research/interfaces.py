"""What a part must be to take the place of roadcast's own. Each contract is checked by `roadcast.research.conform`.

Nothing has to inherit from these: what has the methods is one. Objectives inherit from `Objective`, which does part of their work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from roadcast.config import DynamicsConfig, TokenizerConfig
from roadcast.data.sources.base import Source
from roadcast.dynamics.model import History
from roadcast.nn.causal_conv import Stream
from roadcast.objectives.base import Objective

__all__ = ["Dynamics", "Metric", "Objective", "Source", "Tokenizer"]


@runtime_checkable
class Tokenizer(Protocol):
    """Frames to latents and back.

    shapes     uint8 RGB [B, F, H, W, 3] to float32 [B, F / time_stride, h, w, C] and back to uint8 of the first shape
    causality  latent t depends on frames before `(t + 1) * time_stride` alone, and these frames' picture on latents up to t alone;
               in value and in gradient
    streaming  pieces of a video, one call after another with one `Stream` each way, come out as the whole does
    chance     none: in evaluation the same frames give the same latents
    """

    config: TokenizerConfig

    def encode(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor: ...

    def decode(self, z_BTHWC: Tensor, stream: Stream | None = None) -> Tensor: ...

    def encode_raw(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """The differentiable half of `encode`."""
        ...

    def decode_raw(self, raw_BTHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """The differentiable half of `decode`, before frames are rounded."""
        ...


@runtime_checkable
class Dynamics(Protocol):
    """Noisy latents, their noise levels and windows of commands to what the network predicts of each frame.

    shapes     x [B, T, H, W, C], t [B, T] in [0, 1], commands [B, T, 2 * action_window * actions] to [B, T - finished, H, W, C]
    causality  frame t depends on frames, levels and commands up to t alone, in value and in gradient
    resuming   frames that a `History` has taken in (`finished`) count as if they came in the same call; a call that finishes none
               leaves the history as it was
    chance     none
    """

    config: DynamicsConfig
    channels: int

    def __call__(
        self, x_BTHWC: Tensor, t_BT: Tensor, commands_BTA: Tensor, history: History | None = None, finished: int = 0
    ) -> Tensor: ...

    def empty_history(self, batch: int, height: int, width: int) -> History: ...


@dataclass(frozen=True)
class Metric:
    """A likeness of pictures: what `of(made, true)` says of floats [N, H, W, 3] in [0, 1], a value a picture.

    better   "higher" or "lower"
    equal    no picture is liker than the true one itself
    noise    the more noise, the worse the value
    apart    the value of a picture depends on no other picture of the call, and on no chance
    """

    of: Callable[[Tensor, Tensor], Tensor]
    better: str
