"""A ring of processes over gloo against one process that holds the whole sequence."""

import multiprocessing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from roadcast.nn import ring_attention
from roadcast.nn.attend import attend
from roadcast.nn.mask import NEVER, FrameMask

BATCH, L, K = 2, 12, 8
FRAMES = torch.arange(L)[None]
HOLES = FRAMES.masked_fill(torch.rand(1, L, generator=torch.Generator().manual_seed(2)) < 0.4, NEVER)


@dataclass
class Case:
    mask: FrameMask | None
    frames: torch.Tensor | None
    kv_heads: int = 2
    dtype: torch.dtype = torch.float64


CASES = {
    "none": Case(None, None),
    "causal": Case(FrameMask(), FRAMES),
    "one head of keys": Case(FrameMask(), FRAMES, kv_heads=1),
    "as many heads of keys": Case(FrameMask(), FRAMES, kv_heads=4),
    "half precision": Case(FrameMask(), FRAMES, dtype=torch.bfloat16),
    "block-causal": Case(FrameMask(), FRAMES // 3),
    "window": Case(FrameMask(window=3), FRAMES),
    "window of one frame": Case(FrameMask(window=1), FRAMES),
    "chunk": Case(FrameMask(chunk=2), FRAMES),
    "sinks": Case(FrameMask(window=2, sinks=1), FRAMES),
    "empty slots": Case(FrameMask(window=5), HOLES),
    "rows at different frames": Case(FrameMask(chunk=4, sinks=1), FRAMES + torch.tensor([[0], [7]])),
    "last first": Case(FrameMask(), FRAMES.flip(1)),
}


def sequence(case: Case) -> list[torch.Tensor]:
    """The whole sequence: q, k, v and the gradient of what is read."""
    draw = torch.Generator().manual_seed(0)
    heads = 4, case.kv_heads, case.kv_heads, 4
    return [torch.randn(BATCH, n, L, K, generator=draw, dtype=torch.float64).to(case.dtype) for n in heads]


def run(q, k, v, dy, attention):
    """What is read, and the gradients of q, k and v."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    y = attention(q, k, v)
    return y.detach(), *torch.autograd.grad((y * dy).sum(), (q, k, v))


def on_one_rank(rank: int, size: int, folder: str) -> None:
    """Every case on this rank's slice; its results, and how many blocks it read and passed on, go to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    counted = {name: Mock(wraps=getattr(ring_attention, name)) for name in ("attend_with_lse", "_Transfer")}
    for name, counter in counted.items():
        setattr(ring_attention, name, counter)
    ends = dist.new_group([0, size - 1])
    results = {}
    for name, case in CASES.items():
        for group, members in ((None, range(size)), (ends, (0, size - 1))):
            if rank not in members:
                continue
            place = slice(members.index(rank) * L // len(members), (members.index(rank) + 1) * L // len(members))
            frames = None if case.frames is None else case.frames[:, place]
            parts = [x[:, :, place] for x in sequence(case)]
            for counter in counted.values():
                counter.reset_mock()
            result = run(*parts, partial(ring_attention.ring_attend, mask=case.mask, frame_BL=frames, group=group))
            results[name, group is None] = result, {what: counter.call_count for what, counter in counted.items()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request, tmp_path_factory) -> list[dict]:
    """The results of each rank of a ring of two processes, and of one of three."""
    folder: Path = tmp_path_factory.mktemp("ring")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])  # where a new process finds this file again
        multiprocessing.set_forkserver_preload(["pytest", "roadcast.nn.ring_attention"])  # torch, once for all
        mp.start_processes(on_one_rank, (request.param, str(folder)), nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("whole_world", [True, False], ids=["all ranks", "first and last rank"])
@pytest.mark.parametrize("name", CASES)
def test_a_ring_equals_one_process_forwards_and_backwards(ranks, name, whole_world):
    case = CASES[name]
    whole = run(
        *(x.double() for x in sequence(case)),
        lambda q, k, v: attend(q, k, v, case.mask, case.frames, case.frames, backend="reference"),
    )
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 0.03}[case.dtype]
    members = ranks if whole_world else [ranks[0], ranks[-1]]
    for i, expected in enumerate(whole):
        actual = torch.cat([rank[name, whole_world][0][i] for rank in members], dim=2)
        assert actual.dtype == case.dtype
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


def test_hidden_blocks_are_not_read_and_the_ring_stops_where_no_rank_reads_on(ranks):
    size = len(ranks)

    def count(name: str, what: str) -> list[int]:
        return [rank[name, True][1][what] for rank in ranks]

    assert count("none", "attend_with_lse") == [size] * size
    assert count("causal", "attend_with_lse") == [1 + rank for rank in range(size)]
    assert count("last first", "attend_with_lse") == [size - rank for rank in range(size)]
    assert count("window", "attend_with_lse") == [1] + [2] * (size - 1)
    assert count("window of one frame", "attend_with_lse") == [1] * size
    # one transfer of keys and values a hop forwards, and one more with one of gradients a hop backwards
    assert count("causal", "_Transfer") == [2 * (size - 1) + size] * size
    assert count("window", "_Transfer") == [2 * 1 + 2] * size
    assert count("window of one frame", "_Transfer") == [1] * size
