"""Every back-end against the definition, and the definition against sums written out."""

import math
from itertools import product

import pytest
import torch

from roadcast.nn.attend import BACKENDS, attend, attend_with_lse, visible
from roadcast.nn.mask import NEVER, FrameMask

BATCH, L, S, K = 3, 6, 9, 8
KEYS = torch.arange(S).expand(BATCH, -1)
LAST = KEYS[:, -L:]
APART = torch.tensor([[0], [4], [20]])
HOLES = KEYS.masked_fill(torch.rand(BATCH, S, generator=torch.Generator().manual_seed(1)) < 0.4, NEVER)

# name -> mask, frame numbers of queries, frame numbers of keys
CASES = {
    "none": (None, None, None),
    "causal": (FrameMask(), LAST, KEYS),
    "one row for all": (FrameMask(window=4), LAST[:1], KEYS[:1]),
    "block-causal": (FrameMask(), LAST // 3, KEYS // 3),
    "window": (FrameMask(window=3), LAST, KEYS),
    "chunk": (FrameMask(chunk=2), LAST, KEYS),
    "sinks": (FrameMask(window=2, sinks=2), LAST, KEYS),
    "empty slots": (FrameMask(window=5), LAST, HOLES),
    "rows at different frames": (FrameMask(chunk=4, sinks=1), LAST + APART, KEYS + APART),
    "queries that see nothing": (FrameMask(), LAST - 5, KEYS),
}


def case(name: str, kv_heads: int, dtype: torch.dtype):
    draw = torch.Generator().manual_seed(0)
    tokens = [(4, L), (kv_heads, S), (kv_heads, S)]
    q, k, v = (torch.randn(BATCH, heads, n, K, generator=draw, dtype=dtype) for heads, n in tokens)
    mask, q_frame, k_frame = CASES[name]
    return q, k, v, mask, q_frame, k_frame


def gradients(q, k, v, *frames, backend):
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    y = attend(q, k, v, *frames, backend=backend)
    return y, *torch.autograd.grad((y * torch.linspace(-1, 2, y.numel()).view_as(y).to(y.dtype)).sum(), (q, k, v))


@pytest.mark.parametrize("name", CASES)
def test_reference_is_the_weighted_mean_written_out(name):
    q, k, v, mask, q_frame, k_frame = case(name, 2, torch.float64)
    y = attend(q, k, v, mask, q_frame, k_frame, backend="reference")
    for b in range(BATCH):
        for n in range(4):
            m = n // 2
            for i in range(L):
                seen = [
                    j
                    for j in range(S)
                    if mask is None or mask.allowed(q_frame[b % len(q_frame), i], k_frame[b % len(k_frame), j])
                ]
                weight = [math.exp(float(q[b, n, i] @ k[b, m, j]) / math.sqrt(K)) for j in seen]
                expected = sum((w * v[b, m, j] for w, j in zip(weight, seen)), torch.zeros(K, dtype=torch.float64))
                torch.testing.assert_close(y[b, n, i], expected / max(sum(weight), 1e-300))


def every_combination():
    """Back-ends, cases, key heads and types; of flex, which PyTorch traces afresh for each, a few where time is short."""
    quick_flex = list(product(("none", "one row for all", "rows at different frames"), [2], [torch.float32]))
    for backend, *rest in product(BACKENDS[1:], CASES, (4, 2, 1), (torch.float32, torch.float64)):
        slow = backend == "flex" and tuple(rest) not in quick_flex
        yield pytest.param(backend, *rest, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("backend", "name", "kv_heads", "dtype"), list(every_combination()))
def test_back_ends_agree_forwards_and_backwards(backend, name, kv_heads, dtype, monkeypatch):
    # On a CPU PyTorch refuses flex a backward pass for want of a fast kernel; its plain one is there, and does for a test.
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    given = case(name, kv_heads, dtype)
    expected, actual = gradients(*given, backend="reference"), gradients(*given, backend=backend)
    tolerance = {torch.float32: 3e-6, torch.float64: 1e-12}[dtype]
    for one, other in zip(expected, actual, strict=True):
        assert one.dtype == other.dtype == dtype and other.isfinite().all()
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)


def test_a_query_that_sees_no_key_reads_zeros():
    q, k, v, mask, q_frame, k_frame = case("queries that see nothing", 2, torch.float32)
    y = attend(q, k, v, mask, q_frame, k_frame)
    blind_BL = q_frame < 0
    assert torch.equal((y == 0).all(dim=-1).all(dim=1), blind_BL)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_may_be_shorter_than_keys(backend):
    q, k, v, *frames = case("window", 2, torch.float32)
    y = attend(q, k, v[..., :4], *frames, backend=backend)
    torch.testing.assert_close(y, attend(q, k, v, *frames)[..., :4])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_queries_read_nothing(backend):
    q, k, v, mask, q_frame, k_frame = case("window", 2, torch.float32)
    y = attend(q[:, :, :0], k, v, mask, q_frame[:, :0], k_frame, backend=backend)
    assert y.shape == (BATCH, 4, 0, K)


def test_an_empty_slot_may_hold_anything_finite():
    q, k, v, mask, q_frame, k_frame = case("empty slots", 2, torch.float32)
    empty = (k_frame == NEVER)[:, None, :, None]
    one = attend(q, k, v, mask, q_frame, k_frame)
    other = attend(q, k.masked_fill(empty, 1e4), v.masked_fill(empty, -1e4), mask, q_frame, k_frame)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "mask", [FrameMask(chunk=4), FrameMask(window=4, sinks=2), FrameMask(window=3, chunk=3)], ids=str
)
def test_chunks_streamed_with_the_chunk_before_equal_the_whole(mask):
    """Of the past, a chunk of 4 needs the chunk before it and the sinks: keys cached, never computed again."""
    frames = torch.arange(16)[None]
    q, k, v = torch.randn(BATCH, 4, 16, K), torch.randn(BATCH, 2, 16, K), torch.randn(BATCH, 2, 16, K)
    whole = attend(q, k, v, mask, frames, frames)
    for start in range(0, 16, 4):
        now = slice(start, start + 4)
        held = sorted({*range(mask.sinks), *range(max(0, start - 4), start + 4)})
        y = attend(q[:, :, now], k[:, :, held], v[:, :, held], mask, frames[:, now], frames[:, held])
        torch.testing.assert_close(y, whole[:, :, now])


def test_parts_over_separate_keys_merge_by_their_log_sum_exp():
    q, k, v, mask, q_frame, k_frame = case("window", 2, torch.float64)
    seen = visible(mask, q_frame, k_frame)
    assert seen is not None
    whole, whole_lse = attend_with_lse(q, k, v, seen)
    parts = [attend_with_lse(q, k[:, :, i], v[:, :, i], seen[..., i]) for i in (slice(0, 4), slice(4, None))]
    lse = torch.stack([lse for _, lse in parts])
    torch.testing.assert_close(lse.logsumexp(dim=0), whole_lse)
    torch.testing.assert_close(sum(y * (part - whole_lse).exp()[..., None] for y, part in parts), whole)


def test_half_precision_keeps_its_type_and_its_accuracy():
    q, k, v, *frames = case("window", 2, torch.float32)
    y = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), *frames)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), attend(q, k, v, *frames, backend="reference"), rtol=0.05, atol=0.05)


def test_the_default_compiles_whole():
    q, k, v, *frames = case("rows at different frames", 2, torch.float32)
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, k, v, *frames), attend(q, k, v, *frames))


def test_an_unknown_back_end_is_told_which_there_are():
    q, k, v, *frames = case("none", 2, torch.float32)
    with pytest.raises(ValueError, match=r"'xla'.*reference, sdpa, flex"):
        attend(q, k, v, *frames, backend="xla")
