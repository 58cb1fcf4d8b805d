import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roadcast.nn.mask import NEVER, FrameMask

masks = st.builds(
    FrameMask,
    window=st.none() | st.integers(1, 6),
    chunk=st.none() | st.integers(1, 6),
    sinks=st.integers(0, 3),
)


@given(masks, st.integers(-12, 40), st.integers(-12, 40))
def test_the_rule_is_what_its_words_say(mask, q, k):
    near = (mask.window is None or q - mask.window < k) and (
        mask.chunk is None or k >= (q // mask.chunk - 1) * mask.chunk
    )
    expected = k <= q and (near or 0 <= k < mask.sinks)
    assert bool(mask.allowed(torch.tensor(q), torch.tensor(k))) == expected


@given(masks, st.integers(0, 10**7))
def test_a_query_sees_its_own_frame_and_no_key_that_does_not_exist(mask, frame):
    for dtype in (torch.int32, torch.int64):
        q = torch.tensor(frame, dtype=dtype)
        assert mask.allowed(q, q)
        assert not mask.allowed(q, torch.tensor(NEVER, dtype=dtype))


def test_queries_and_keys_broadcast_and_tokens_of_a_frame_see_one_another():
    frame_L = torch.tensor([0, 0, 1, 1])
    assert FrameMask().allowed(frame_L[:, None], frame_L).int().tolist() == [[1, 1, 0, 0]] * 2 + [[1, 1, 1, 1]] * 2
    assert (
        FrameMask(window=1).allowed(frame_L[:, None], frame_L).int().tolist() == [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2
    )


def test_chunks_reach_to_the_start_of_the_chunk_before():
    frame_L = torch.arange(9)
    seen_LS = FrameMask(chunk=3, sinks=1).allowed(frame_L[:, None], frame_L)
    assert [frame_L[row].tolist() for row in seen_LS[[2, 5, 6, 8]]] == [
        [0, 1, 2],
        [0, 1, 2, 3, 4, 5],
        [0, 3, 4, 5, 6],
        [0, 3, 4, 5, 6, 7, 8],
    ]


@pytest.mark.parametrize("fault", [{"window": 0}, {"chunk": -1}, {"sinks": -1}])
def test_a_limit_that_shuts_out_everything_is_named(fault):
    (name, value), *_ = fault.items()
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        FrameMask(**fault)


def test_compiles_to_the_same_rule():
    mask = FrameMask(window=5, chunk=2, sinks=1)
    q_L, k_S = torch.arange(-3, 9), torch.arange(-3, 9)
    compiled = torch.compile(lambda q, k: mask.allowed(q[:, None], k), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(q_L, k_S), mask.allowed(q_L[:, None], k_S))
