"""The ring of keys and values that lets a rollout run for ever in fixed memory.

Axes: U time layers, B rows (worlds), P tokens a frame, M key heads, S slots, K head dim; the axis of 2 holds keys, then
values. The first `sinks` frames of a row keep their slots for good; frame f after them lives in slot
`sinks + (f - sinks) mod (S - sinks)`. Keys are stored before rotation, and turned when read by their distance to the frame
being made: positions mean the same at frame 10 and at frame 10,000,000.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .mask import NEVER

STORAGE = (torch.float32, torch.bfloat16, torch.float16, torch.int8)


@dataclass
class KVCache:
    """Keys and values of the last S frames of each row; `frame_B` counts the frames each row has taken in.

    scale_U2BPMS1  of int8 storage: `kv = int8 * scale`, one scale a vector, its largest magnitude over 127; else None
    """

    kv_U2BPMSK: Tensor
    scale_U2BPMS1: Tensor | None
    frame_B: Tensor
    sinks: int = 0

    @classmethod
    def empty(
        cls,
        layers: int,
        batch: int,
        tokens: int,
        heads: int,
        slots: int,
        head_dim: int,
        sinks: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "KVCache":
        """A cache that has seen nothing, stored as `dtype`: float32, bfloat16, float16 or int8 (else ValueError)."""
        if dtype not in STORAGE:
            raise ValueError(f"the cache cannot be stored as {dtype}; choose one of {', '.join(map(str, STORAGE))}")
        assert 0 <= sinks < slots
        shape = (layers, 2, batch, tokens, heads, slots)
        scale = torch.zeros(*shape, 1, device=device) if dtype == torch.int8 else None
        frame_B = torch.zeros(batch, dtype=torch.long, device=device)
        return cls(torch.zeros(*shape, head_dim, device=device, dtype=dtype), scale, frame_B, sinks)

    @property
    def slots(self) -> int:
        return self.kv_U2BPMSK.shape[5]

    def frames_BS(self) -> Tensor:
        """The number of the frame in each slot, counted from the row's first; `NEVER` where there is none."""
        slot_S = torch.arange(self.slots, device=self.frame_B.device)
        newest_B1 = self.frame_B[:, None] - 1
        frame_BS = newest_B1 - (newest_B1 - slot_S) % (self.slots - self.sinks)
        frame_BS = torch.where(slot_S < self.sinks, slot_S, frame_BS)
        return torch.where((slot_S <= frame_BS) & (frame_BS <= newest_B1), frame_BS, NEVER)

    def read(self, layer: int, dtype: torch.dtype) -> Tensor:
        """Keys and values [2, B, P, M, S, K] of one time layer in slot order, as `dtype`."""
        kv = self.kv_U2BPMSK[layer].to(dtype)
        return kv if self.scale_U2BPMS1 is None else kv * self.scale_U2BPMS1[layer].to(dtype)

    def write(self, layer: int, kv_2BPMTK: Tensor) -> None:
        """Put the next T frames of one layer in their slots (the last of them when T > S); `advance` makes it count."""
        frames, ring = kv_2BPMTK.shape[4], self.slots - self.sinks
        assert frames <= ring or not self.sinks, "frames that begin with sinks are written in pieces"
        first = max(0, frames - ring)
        kv_2BPMTK = kv_2BPMTK[:, :, :, :, first:].detach()
        frame_BT = self.frame_B[:, None] + torch.arange(first, frames, device=self.frame_B.device)
        slot_BT = self.sinks + (frame_BT - self.sinks) % ring
        slot_BT = torch.where(frame_BT < self.sinks, frame_BT, slot_BT)
        row_B1 = torch.arange(len(self.frame_B), device=self.frame_B.device)[:, None]
        kv_BT2PMK = kv_2BPMTK.permute(1, 4, 0, 2, 3, 5)
        if self.scale_U2BPMS1 is not None:
            scale = kv_BT2PMK.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-12) / 127
            self.scale_U2BPMS1[layer].permute(1, 4, 0, 2, 3, 5)[row_B1, slot_BT] = scale
            kv_BT2PMK = (kv_BT2PMK / scale).round()
        self.kv_U2BPMSK[layer].permute(1, 4, 0, 2, 3, 5)[row_B1, slot_BT] = kv_BT2PMK.to(self.kv_U2BPMSK.dtype)

    def advance(self, frames: int) -> None:
        """Count `frames` more frames as taken in, once every layer has written them."""
        self.frame_B += frames

    def clone(self) -> "KVCache":
        """A copy that goes on independently, a snapshot or a branch of the world: one copy of one tensor, whatever its past."""
        return pytree.tree_map_only(Tensor, torch.clone, self)


torch.export.register_dataclass(KVCache, serialized_type_name="roadcast.KVCache")
