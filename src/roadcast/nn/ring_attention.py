"""Attention over a sequence too long for one device: keys and values travel round a ring of them (Liu et al. 2023).

Each rank holds an equal, contiguous slice of the sequence. At hop h it attends to the keys of the rank h places before it,
which meanwhile travel on to the next, and merges what it reads with what it has by the log-sum-exp of the scores:

    lse = log(exp(lse_a) + exp(lse_b)),    y = y_a exp(lse_a - lse) + y_b exp(lse_b - lse).

On the way back keys and values go round once more, followed by the gradients they gather (Dao et al. 2022,
FlashAttention, appendix B.2):

    P  = exp(q k^T / sqrt(K) - lse),    dS = P * (dy v^T - sum(dy * y)) / sqrt(K),
    dv = P^T dy,    dk = dS^T q,    dq = dS k.

No rank ever holds more than two slices of keys and values and one block [B, N, L, L] of scores. A block that the mask
hides is passed on unread, and the ring stops at the furthest hop that any rank reads.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from einops import einsum, rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from .attend import attend_with_lse, scores, visible, weights
from .mask import FrameMask


def ring_attend(
    q_BNLK: Tensor,
    k_BMLK: Tensor,
    v_BMLK: Tensor,
    mask: FrameMask | None = None,
    frame_BL: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """`attend` of this rank's queries to the keys of all ranks: its slice [B, N, L, K] of what one process would give.

    q, k, v   this rank's slice, of equal shape and type on every rank, in the order of the ranks in `group`
    mask      who sees whom; None for everybody
    frame_BL  frame numbers of the slice's tokens, integers, one row [1, L] if all rows are alike; wanted with a mask
    group     the ring, over gloo or NCCL; None for all processes. All of it must call, forwards and backwards.
    """
    return _RingAttention.apply(q_BNLK, k_BMLK, v_BMLK, mask, frame_BL, group)


class _Transfer:
    """A tensor under way to the rank `steps` further round the ring, while that of the rank `steps` before comes in."""

    def __init__(self, tensor: Tensor, steps: int, group: dist.ProcessGroup | None):
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        self.works, self.sent, self.received = [], tensor, tensor
        if steps % size:
            self.received = torch.empty_like(tensor)
            send = dist.P2POp(dist.isend, tensor, group=group, group_peer=(rank + steps) % size)
            receive = dist.P2POp(dist.irecv, self.received, group=group, group_peer=(rank - steps) % size)
            self.works = dist.batch_isend_irecv([send, receive])

    def wait(self) -> Tensor:
        """What came in, once both have arrived."""
        for work in self.works:
            work.wait()
        return self.received


@dataclass
class _Route:
    """Whose keys reach this rank at each hop H, as far as any rank reads, and whether this one does."""

    mask: FrameMask | None
    frame_BL: Tensor | None
    key_frame_HBL: list[Tensor]
    reads_H: list[bool]

    @classmethod
    def plan(cls, mask: FrameMask | None, frame_BL: Tensor | None, group: dist.ProcessGroup | None) -> "_Route":
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        if mask is None:
            return cls(None, None, [], [True] * size)
        assert frame_BL is not None, "a mask needs the frame numbers of the tokens"
        frame_RBL = [torch.empty_like(frame_BL, memory_format=torch.contiguous_format) for _ in range(size)]
        dist.all_gather(frame_RBL, frame_BL.contiguous(), group=group)
        key_frame_HBL = [frame_RBL[rank - hop] for hop in range(size)]
        reads_H = torch.stack(
            [mask.allowed(frame_BL[:, :, None], key_frame_BL[:, None]).any() for key_frame_BL in key_frame_HBL]
        ).int()
        read_by_any_H = reads_H.clone()
        dist.all_reduce(read_by_any_H, dist.ReduceOp.MAX, group=group)
        furthest = max((hop for hop, read in enumerate(read_by_any_H.tolist()) if read), default=0)
        return cls(mask, frame_BL, key_frame_HBL, [read == 1 for read in reads_H.tolist()[: furthest + 1]])

    def seen(self, hop: int) -> Tensor | None:
        """Which of the keys that come at this hop each query sees, as `visible` has it."""
        return visible(self.mask, self.frame_BL, self.key_frame_HBL[hop] if self.mask else None)


class _RingAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_BNLK: Tensor,
        k_BMLK: Tensor,
        v_BMLK: Tensor,
        mask: FrameMask | None,
        frame_BL: Tensor | None,
        group: dist.ProcessGroup | None,
    ) -> Tensor:
        route = _Route.plan(mask, frame_BL, group)
        wide = torch.promote_types(q_BNLK.dtype, torch.float32)
        y_BNLK = torch.zeros_like(q_BNLK, dtype=wide)
        lse_BNL = torch.full_like(y_BNLK[..., 0], torch.finfo(wide).min)
        kv = torch.stack([k_BMLK, v_BMLK])
        for hop, reads in enumerate(route.reads_H):
            last = hop == len(route.reads_H) - 1
            coming = None if last else _Transfer(kv, 1, group)
            if reads:
                y, lse = attend_with_lse(q_BNLK, *kv, route.seen(hop))
                merged_BNL = torch.logaddexp(lse_BNL, lse)
                y_BNLK = y_BNLK * (lse_BNL - merged_BNL).exp()[..., None] + y * (lse - merged_BNL).exp()[..., None]
                lse_BNL = merged_BNL
            if coming:
                kv = coming.wait()
        ctx.save_for_backward(q_BNLK, k_BMLK, v_BMLK, y_BNLK, lse_BNL)
        ctx.route, ctx.group = route, group
        return y_BNLK.to(q_BNLK.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_BNLK: Tensor):
        q_BNLK, k_BMLK, v_BMLK, y_BNLK, lse_BNL = ctx.saved_tensors
        route, group = ctx.route, ctx.group
        q, y, dy = (rearrange(x, "b (m g) l k -> b m g l k", m=k_BMLK.shape[1]) for x in (q_BNLK, y_BNLK, dy_BNLK))
        lse = rearrange(lse_BNL, "b (m g) l -> b m g l", m=k_BMLK.shape[1])
        dy_y = (dy * y).sum(dim=-1)
        dq, kv = torch.zeros_like(y), torch.stack([k_BMLK, v_BMLK])
        gathered: _Transfer | None = None
        for hop, reads in enumerate(route.reads_H):
            last = hop == len(route.reads_H) - 1
            coming = None if last else _Transfer(kv, 1, group)
            dkv = torch.zeros_like(kv, dtype=y.dtype)
            if reads:
                dq_part, *dkv_parts = _block_gradients(q, *kv, route.seen(hop), lse, dy, dy_y)
                dq += dq_part
                dkv += torch.stack(dkv_parts)
            if gathered:
                dkv += gathered.wait()
            gathered = _Transfer(dkv, -hop if last else 1, group)  # in the end home, to the rank whose keys these are
            if coming:
                kv = coming.wait()
        assert gathered is not None
        dk, dv = gathered.wait().to(k_BMLK.dtype)
        return rearrange(dq, "b m g l k -> b (m g) l k").to(q_BNLK.dtype), dk, dv, None, None, None


def _block_gradients(
    q_BMGLK: Tensor,
    k_BMSK: Tensor,
    v_BMSK: Tensor,
    seen_B1LS: Tensor | None,
    lse_BMGL: Tensor,
    dy_BMGLK: Tensor,
    dy_y_BMGL: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """What one block of keys adds to dq, dk and dv, `lse` being that over all blocks."""
    p_BMGLS = weights(scores(q_BMGLK, k_BMSK, seen_B1LS), lse_BMGL, seen_B1LS)
    dp_BMGLS = einsum(dy_BMGLK, v_BMSK, "b m g l k, b m s k -> b m g l s")
    ds_BMGLS = p_BMGLS * (dp_BMGLS - dy_y_BMGL[..., None]) / math.sqrt(q_BMGLK.shape[-1])
    p_BMGLS, ds_BMGLS = p_BMGLS.to(q_BMGLK.dtype), ds_BMGLS.to(q_BMGLK.dtype)
    return (
        einsum(ds_BMGLS, k_BMSK, "b m g l s, b m s k -> b m g l k"),
        einsum(ds_BMGLS, q_BMGLK, "b m g l s, b m g l k -> b m s k"),
        einsum(p_BMGLS, dy_BMGLK, "b m g l s, b m g l k -> b m s k"),
    )
