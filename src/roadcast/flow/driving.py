"""One frame of a driven world as one function of tensors, in fixed shapes and at fixed addresses.

Sessions run it as it is, `torch.compile` turns it into one graph, a GPU replays it as one CUDA graph, and it is what is exported.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from roadcast.flow.rollout import Draft, Past, Sampler
from roadcast.nn.causal_conv import Stream
from roadcast.tokenizer.model import Tokenizer


@dataclass
class Drive:
    """All that a driven world remembers from frame to frame: the rollout's past and the decoder's."""

    rollout: Past
    decoder: tuple[Tensor, ...]


torch.export.register_dataclass(Drive, serialized_type_name="roadcast.Drive")


def fixed_copy(state):
    """A copy of a state (of tensors in dataclasses and tuples), each tensor densely laid out: what a compiled step is given."""
    return pytree.tree_map_only(Tensor, lambda x: x.clone(memory_format=torch.contiguous_format), state)


def overwrite(state, other) -> None:
    """Make `state` what `other`, of the same shapes, is, without moving a tensor in memory."""
    for ours, theirs in zip(pytree.tree_leaves(state), pytree.tree_leaves(other), strict=True):
        if isinstance(ours, Tensor):
            ours.copy_(theirs)


class DrivingStep(nn.Module):
    """K passes of the dynamics and one of the decoder: `step(drive, draft)` makes the next frames and moves `drive` on in place."""

    def __init__(self, sample: Sampler, tokenizer: Tokenizer):
        super().__init__()
        self.sample, self.tokenizer = sample, tokenizer

    def forward(self, drive: Drive, draft: Draft) -> Tensor:
        """The next frames [B, F, H, W, 3], uint8."""
        past, stream = drive.rollout, Stream(drive.decoder)
        z_BTHWC = self.sample(past, draft)
        past.finished_BTHWC.copy_(self.sample.finish(z_BTHWC, draft.context_noise_BTHWC))
        past.commands_BTA.copy_(draft.commands_BTA)
        frames_BFHWC = self.tokenizer.decode(z_BTHWC, stream)
        overwrite(drive.decoder, stream.past)
        return frames_BFHWC
