"""Attention over any rule of who sees whom, by three back-ends that agree.

    y = softmax(q k^T / sqrt(K)) v    (Vaswani et al. 2017, eq. 1),

the softmax taken over the keys that `FrameMask` lets a query see, and each key head serving N / M query heads (GQA,
Ainslie et al. 2023). A query that sees no key gets zeros, and sends no gradient.

Shapes: B rows, N query heads, M key heads (N a multiple of M), L queries, S keys, K head dim, G = N / M.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from .mask import FrameMask

BACKENDS = ("reference", "sdpa", "flex")


def attend(
    q_BNLK: Tensor,
    k_BMSK: Tensor,
    v_BMSK: Tensor,
    mask: FrameMask | None = None,
    q_frame_BL: Tensor | None = None,
    k_frame_BS: Tensor | None = None,
    backend: str = "sdpa",
) -> Tensor:
    """What each query reads [B, N, L, K], in the type of `q_BNLK`; where values are shorter than keys, as long as they.

    mask        None lets everybody see everybody, and no mask is built
    q_frame_BL  frame numbers of queries and keys, integers, wanted where there is a mask; one row [1, L] or [1, S]
                serves all rows where they stand at equal frames
    backend     "reference"  einsum, with a softmax in float32 at least: the definition
                "sdpa"       PyTorch's fused kernels, handed the mask as booleans [B, 1, L, S]
                "flex"       FlexAttention (Dong et al. 2024), which never lays the mask out and skips blocks of it that
                             hide all; compiled on a GPU; on a CPU eager, and without a backward pass, as PyTorch has it
                another name is a ValueError
    """
    grouped = q_BNLK.shape[1] != k_BMSK.shape[1]
    if backend == "reference":
        seen_B1LS = visible(mask, q_frame_BL, k_frame_BS)
        return attend_with_lse(q_BNLK, k_BMSK, v_BMSK, seen_B1LS)[0].to(q_BNLK.dtype)
    if backend == "sdpa":
        seen_B1LS = visible(mask, q_frame_BL, k_frame_BS)
        length, short = v_BMSK.shape[-1], k_BMSK.shape[-1] - v_BMSK.shape[-1]
        if short:  # the fused kernel wants values as long as keys, and is so much faster that zeros pay
            v_BMSK = F.pad(v_BMSK, (0, short))
        y_BNLK = F.scaled_dot_product_attention(q_BNLK, k_BMSK, v_BMSK, attn_mask=seen_B1LS, enable_gqa=grouped)
        return y_BNLK[..., :length]
    if backend == "flex":
        if q_BNLK.shape[2] == 0:  # which FlexAttention will not have
            return q_BNLK.new_empty(*q_BNLK.shape[:-1], v_BMSK.shape[-1])
        flex, build = _flex(q_BNLK.device.type)
        blocks = _block_mask(build, len(q_BNLK), mask, q_frame_BL, k_frame_BS)
        return flex(q_BNLK, k_BMSK, v_BMSK, block_mask=blocks, enable_gqa=grouped)
    raise ValueError(f"attention back-end {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")


def visible(mask: FrameMask | None, q_frame_BL: Tensor | None, k_frame_BS: Tensor | None) -> Tensor | None:
    """The rule laid out for every query and key, bool [B, 1, L, S]; None where everybody sees everybody."""
    if mask is None:
        return None
    assert q_frame_BL is not None and k_frame_BS is not None, "a mask needs the frame numbers of queries and keys"
    return mask.allowed(q_frame_BL[:, None, :, None], k_frame_BS[:, None, None, :])


def attend_with_lse(q_BNLK: Tensor, k_BMSK: Tensor, v_BMSK: Tensor, seen_B1LS: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention by its definition, and the log-sum-exp of each query's scores, by which parts over separate keys merge.

    seen_B1LS  which keys each query sees, from `visible`
    returns    y [B, N, L, K] and lse [B, N, L] in float32, or float64 if given that; for a query that sees no key y is
               zero and lse the lowest finite number, beside which any other wins
    """
    q_BMGLK = rearrange(q_BNLK, "b (m g) l k -> b m g l k", m=k_BMSK.shape[1])
    score_BMGLS = scores(q_BMGLK, k_BMSK, seen_B1LS)
    lse_BMGL = score_BMGLS.logsumexp(dim=-1)
    weight_BMGLS = weights(score_BMGLS, lse_BMGL, seen_B1LS)
    y_BMGLK = einsum(weight_BMGLS.to(v_BMSK.dtype), v_BMSK, "b m g l s, b m s k -> b m g l k")
    return (
        rearrange(y_BMGLK, "b m g l k -> b (m g) l k").to(lse_BMGL.dtype),
        rearrange(lse_BMGL, "b m g l -> b (m g) l"),
    )


def scores(q_BMGLK: Tensor, k_BMSK: Tensor, seen_B1LS: Tensor | None) -> Tensor:
    """`q k^T / sqrt(K)` [B, M, G, L, S] in float32 at least, the lowest finite number where a key is not seen.

    Finite, for with -inf a row that sees nothing would turn to NaN.
    """
    score_BMGLS = einsum(q_BMGLK, k_BMSK, "b m g l k, b m s k -> b m g l s") / math.sqrt(q_BMGLK.shape[-1])
    score_BMGLS = score_BMGLS.to(torch.promote_types(score_BMGLS.dtype, torch.float32))
    if seen_B1LS is None:
        return score_BMGLS
    return score_BMGLS.masked_fill(~seen_B1LS[:, :, None], torch.finfo(score_BMGLS.dtype).min)


def weights(score_BMGLS: Tensor, lse_BMGL: Tensor, seen_B1LS: Tensor | None) -> Tensor:
    """`exp(score - lse)` [B, M, G, L, S]: the softmax, if `lse` is that of these scores, and a part of it if of more."""
    weight_BMGLS = (score_BMGLS - lse_BMGL[..., None]).exp()
    return weight_BMGLS if seen_B1LS is None else weight_BMGLS * seen_B1LS[:, :, None]


@cache
def _flex(device_type: str) -> tuple[Callable, Callable]:
    """FlexAttention and the maker of its block masks: compiled where there are kernels for both passes."""
    if device_type == "cpu":
        return flex_attention, create_block_mask
    return torch.compile(flex_attention), torch.compile(create_block_mask)


def _block_mask(
    build: Callable, batch: int, mask: FrameMask | None, q_frame_BL: Tensor | None, k_frame_BS: Tensor | None
) -> BlockMask | None:
    """The rule as FlexAttention takes it: a function of row and token numbers, and which blocks of it are not empty."""
    if mask is None:
        return None
    assert q_frame_BL is not None and k_frame_BS is not None, "a mask needs the frame numbers of queries and keys"
    rows = max(len(q_frame_BL), len(k_frame_BS))
    q_frame_BL, k_frame_BS = q_frame_BL.expand(batch, -1), k_frame_BS.expand(batch, -1)

    def seen(b: Tensor, n: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return mask.allowed(q_frame_BL[b, i], k_frame_BS[b, j])

    return build(seen, rows, None, q_frame_BL.shape[1], k_frame_BS.shape[1], device=q_frame_BL.device)
