"""Grouped-query attention with normalised queries and keys, in two arrangements: inside a frame, and along time."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .kv_cache import KVCache
from .norm import RMSNorm
from .rope import rope_tables, rotate

Tables = tuple[Tensor, Tensor]


class Projections(nn.Module):
    """Fused query, key and value projection with QK-RMSNorm (Henry et al. 2020; Dehghani et al. 2023), and the way out."""

    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, width // heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim)
        self.k_norm = RMSNorm(self.head_dim)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x` [..., L, D] as q [..., L, N, K], k and v [..., L, N_kv, K], queries and keys of unit root mean square."""
        q, k, v = (
            self.qkv(x).unflatten(-1, (-1, self.head_dim)).split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        )
        return self.q_norm(q), self.k_norm(k), v

    def attend(self, q_RNLK: Tensor, k_RNSK: Tensor, v_RNSK: Tensor, mask: Tensor | None = None) -> Tensor:
        """softmax(q k^T / sqrt(K) + mask) v, each key head serving `heads / kv_heads` query heads (Ainslie et al. 2023)."""
        return F.scaled_dot_product_attention(
            q_RNLK, k_RNSK, v_RNSK, attn_mask=mask, enable_gqa=self.heads != self.kv_heads
        )


class SpaceAttention(Projections):
    """Every token of a frame attends to every token of the same frame."""

    def forward(self, x_BTPD: Tensor, grid: Tables) -> Tensor:
        """`grid` holds the rotary tables [P, K / 2] of the tokens' places; shape is kept."""
        batch, time, _, _ = x_BTPD.shape
        q, k, v = (rearrange(y, "b t p n k -> (b t) n p k") for y in self.split(x_BTPD))
        y = self.attend(rotate(q, grid), rotate(k, grid), v)
        return self.out(rearrange(y, "(b t) n p k -> b t p (n k)", b=batch, t=time))


class TimeAttention(Projections):
    """Every token attends to itself in this frame and in the `window - 1` frames before, and to nothing later."""

    def __init__(self, width: int, heads: int, kv_heads: int, window: int):
        super().__init__(width, heads, kv_heads)
        self.window = window

    def forward(self, x_BTPD: Tensor, cache: KVCache | None = None, layer: int = 0, write: bool = False) -> Tensor:
        """Attention of T new frames over the cached ones and themselves.

        cache  the frames before these, or None when these are the first; `write` stores the new frames in it.
        Position counts from the first new frame: cached frames lie at -1, -2, ...
        """
        batch, time, tokens, _ = x_BTPD.shape
        q, k, v = (rearrange(y, "b t p n k -> b p n t k") for y in self.split(x_BTPD))
        now_T = torch.arange(time, device=x_BTPD.device)
        key_BS = now_T.expand(batch, -1)
        seen_BS = torch.ones_like(key_BS, dtype=torch.bool)
        new_k, new_v = k, v
        if cache is not None:
            age_BS = cache.age_BS()
            old_k, old_v = cache.read(layer)
            k, v = torch.cat([old_k.to(k.dtype), k], dim=3), torch.cat([old_v.to(v.dtype), v], dim=3)
            key_BS = torch.cat([-age_BS, key_BS], dim=1)
            seen_BS = torch.cat([age_BS <= cache.frame_B[:, None], seen_BS], dim=1)
            if write:
                cache.write(layer, new_k, new_v)
        ahead_BTS = now_T[None, :, None] - key_BS[:, None, :]
        mask_BTS = (ahead_BTS >= 0) & (ahead_BTS < self.window) & seen_BS[:, None, :]
        q = rotate(q, rope_tables(now_T[:, None], self.head_dim))
        k = rotate(k, tuple(table[:, None, None] for table in rope_tables(key_BS[..., None], self.head_dim)))
        mask = mask_BTS[:, None, None].expand(batch, tokens, 1, time, -1).flatten(0, 1)
        y = self.attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), mask)
        return self.out(rearrange(y, "(b p) n t k -> b t p (n k)", b=batch))
