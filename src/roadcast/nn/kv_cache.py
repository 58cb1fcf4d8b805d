"""The ring of keys and values that lets a rollout run for ever in fixed memory.

Axes: U time layers, B rows (worlds), P tokens a frame, N key heads, S slots, K head dim. Frame f of a row lives in slot
`f mod S`. Keys are stored before rotation, and turned by their age when read: positions are relative to the frame
being made, so they mean the same at frame 10 and at frame 10,000,000.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KVCache:
    """Keys and values of the last S frames of each row; `frame_B` counts the frames each row has taken in."""

    k_UBPNSK: Tensor
    v_UBPNSK: Tensor
    frame_B: Tensor

    @classmethod
    def empty(
        cls,
        layers: int,
        batch: int,
        tokens: int,
        heads: int,
        slots: int,
        head_dim: int,
        device=None,
        dtype=torch.float32,
    ) -> "KVCache":
        shape = (layers, batch, tokens, heads, slots, head_dim)
        zeros = torch.zeros(shape, device=device, dtype=dtype)
        return cls(zeros, zeros.clone(), torch.zeros(batch, dtype=torch.long, device=device))

    @property
    def slots(self) -> int:
        return self.k_UBPNSK.shape[4]

    def age_BS(self) -> Tensor:
        """How many frames before the next one each slot's frame lies: 1 is the newest. Above `frame_B` the slot is empty."""
        slot_S = torch.arange(self.slots, device=self.frame_B.device)
        return 1 + (self.frame_B[:, None] - 1 - slot_S) % self.slots

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, P, N, S, K] of one time layer, in slot order."""
        return self.k_UBPNSK[layer], self.v_UBPNSK[layer]

    def write(self, layer: int, k_BPNTK: Tensor, v_BPNTK: Tensor) -> None:
        """Put the next T frames of one layer in their slots (the last S of them when T > S); `advance` makes it count."""
        frames = k_BPNTK.shape[3]
        row_B = torch.arange(len(self.frame_B), device=self.frame_B.device)
        for i in range(max(0, frames - self.slots), frames):
            slot_B = (self.frame_B + i) % self.slots
            self.k_UBPNSK[layer][row_B, :, :, slot_B] = k_BPNTK[:, :, :, i].detach()
            self.v_UBPNSK[layer][row_B, :, :, slot_B] = v_BPNTK[:, :, :, i].detach()

    def advance(self, frames: int) -> None:
        """Count `frames` more frames as taken in, once every layer has written them."""
        self.frame_B += frames

    def clone(self) -> "KVCache":
        """A copy that goes on independently: a snapshot, or a branch of the world."""
        return KVCache(self.k_UBPNSK.clone(), self.v_UBPNSK.clone(), self.frame_B.clone())
