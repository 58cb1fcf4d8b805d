"""Grouped-query attention with normalised queries and keys, in three arrangements: inside a frame, along time at one place,
and over all places of all frames in sight.

Axes: B rows, T new frames, S cached frames, P tokens a frame, N query heads, M key heads, K head dim, D width.
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from .attend import attend
from .kv_cache import KVCache
from .norm import RMSNorm
from .rope import Tables, rotate
from .sight import Sight


class Projections(nn.Module):
    """Fused query, key and value projection with QK-RMSNorm (Henry et al. 2020; Dehghani et al. 2023), and the way out."""

    def __init__(self, width: int, heads: int, kv_heads: int, backend: str = "sdpa"):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.backend = heads, kv_heads, width // heads, backend
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim)
        self.k_norm = RMSNorm(self.head_dim)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x` [..., L, D] as q [..., L, N, K], k and v [..., L, M, K], queries and keys of unit root mean square."""
        q, k, v = (
            self.qkv(x).unflatten(-1, (-1, self.head_dim)).split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        )
        return self.q_norm(q), self.k_norm(k), v


class SpaceAttention(Projections):
    """Every token of a frame attends to every token of the same frame."""

    def forward(self, x_BTPD: Tensor, grid: Tables) -> Tensor:
        """`grid` holds the rotary tables [P, K / 2] of the tokens' places; shape is kept."""
        batch, time, _, _ = x_BTPD.shape
        q, k, v = (rearrange(y, "b t p n k -> (b t) n p k") for y in self.split(x_BTPD))
        y = attend(rotate(q, grid), rotate(k, grid), v, backend=self.backend)
        return self.out(rearrange(y, "(b t) n p k -> b t p (n k)", b=batch, t=time))


class TimeAttention(Projections):
    """Every token attends to the frames its mask lets it see: at its own place alone, or, where `full`, at all places."""

    def __init__(self, width: int, heads: int, kv_heads: int, backend: str = "sdpa", full: bool = False):
        super().__init__(width, heads, kv_heads, backend)
        self.rows, self.length = ("b", "(s p)") if full else ("(b p)", "s")

    def forward(
        self,
        x_BTPD: Tensor,
        sight: Sight,
        cache: KVCache | None = None,
        layer: int = 0,
        finished: int = 0,
        first: int = 0,
    ) -> Tensor:
        """What the new frames from `first` on read [B, T - first, P, D]; the first `finished` go into the cache."""
        batch, frames, tokens, _ = x_BTPD.shape
        q, k, v = (rearrange(y, "b t p n k -> b p n t k") for y in self.split(x_BTPD))
        k_BPMSK, v_BPMSK = k, v
        if cache is not None:
            old_2BPMSK = cache.read(layer, k.dtype)
            k_BPMSK, v_BPMSK = torch.cat([old_2BPMSK[0], k], dim=3), torch.cat([old_2BPMSK[1], v], dim=3)
            if finished:
                cache.write(layer, torch.stack([k[:, :, :, :finished], v[:, :, :, :finished]]))
        if first == frames:
            return x_BTPD[:, first:]
        q_BPNTK, k_BPMSK = self.turn(q, k_BPMSK, sight)
        y = sight.read(
            rearrange(q_BPNTK[:, :, :, first:], f"b p n s k -> {self.rows} n {self.length} k"),
            rearrange(k_BPMSK, f"b p n s k -> {self.rows} n {self.length} k"),
            rearrange(v_BPMSK, f"b p n s k -> {self.rows} n {self.length} k"),
            sight.mask,
            self.numbers(sight.q_frame_BT[:, first:], tokens),
            self.numbers(sight.k_frame_BS, tokens),
            backend=self.backend,
        )
        return self.out(rearrange(y, f"{self.rows} n {self.length} k -> b s p (n k)", b=batch, p=tokens))

    def turn(self, q_BPNTK: Tensor, k_BPMSK: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """Queries and keys turned to their positions in time.

        With sinks both are twice as long, the second half for the scores between queries and sinks, which are turned by other
        distances: `[q_near, q_far] . [k_near, 0]` for a frame in the window and `[q_near, q_far] . [0, k_far]` for a sink.
        """
        q_near, k_near = rotate(q_BPNTK, sight.q_tables), rotate(k_BPMSK, sight.k_tables)
        if sight.q_sinks is None or sight.k_sinks is None:
            return q_near, k_near
        q_far, k_far = rotate(q_BPNTK, sight.q_sinks), rotate(k_BPMSK, sight.k_sinks)
        sink_B11S1 = (sight.k_frame_BS < sight.mask.sinks)[:, None, None, :, None]
        k = torch.cat([k_near * ~sink_B11S1, k_far * sink_B11S1], dim=-1)
        return torch.cat([q_near, q_far], dim=-1) * 2**0.5, k  # attend divides by the root of twice the length

    def numbers(self, frame_BS: Tensor, tokens: int) -> Tensor:
        """Frame numbers of the rows and positions that `attend` sees."""
        if self.rows == "b":
            return repeat(frame_BS, "b s -> b (s p)", p=tokens)
        return frame_BS if len(frame_BS) == 1 else repeat(frame_BS, "b s -> (b p) s", p=tokens)
