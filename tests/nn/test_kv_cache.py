import pytest
import torch

from roadcast.nn.kv_cache import KVCache
from roadcast.nn.mask import NEVER


def frames_of(first: int, count: int) -> torch.Tensor:
    """Keys equal to the frame's number, and values to minus it: [2, B=2, P=2, M=1, T, K=4]."""
    number = torch.arange(first, first + count).float().view(1, 1, 1, -1, 1).expand(2, 2, 1, count, 4)
    return torch.stack([number, -number])


def filled(frames: int, slots: int = 3, chunk: int = 1, sinks: int = 0, dtype=torch.float32) -> KVCache:
    """A cache that has taken in frames 0, 1, ... by `chunk` at a time."""
    cache = KVCache.empty(layers=1, batch=2, tokens=2, heads=1, slots=slots, head_dim=4, sinks=sinks, dtype=dtype)
    for first in range(0, frames, chunk):
        size = min(chunk, frames - first)
        cache.write(0, frames_of(first, size))
        cache.advance(size)
    return cache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_the_ring_holds_the_newest_frames_and_knows_their_numbers(dtype):
    for frames in (0, 1, 2, 3, 4, 11):
        for chunk in (1, 2, 5):
            cache = filled(frames, chunk=chunk, dtype=dtype)
            k, v = cache.read(0, torch.float32)
            number = cache.frames_BS()[0]
            assert sorted(number[number != NEVER].tolist()) == list(range(max(0, frames - 3), frames))
            held = number != NEVER
            torch.testing.assert_close(k[0, 0, 0, held, 0], number[held].float(), rtol=1e-2, atol=0)
            assert torch.equal(v, -k)


def test_sinks_stay():
    for frames in (1, 2, 5, 12):
        cache = filled(frames, slots=5, sinks=2, chunk=2)
        number, k = cache.frames_BS()[0], cache.read(0, torch.float32)[0, 0, 0, 0, :, 0]
        held = number != NEVER
        assert sorted(number[held].tolist()) == sorted({*range(min(2, frames)), *range(max(0, frames - 3), frames)})
        assert torch.equal(k[held], number[held].float())


def test_rows_may_be_at_different_frames():
    cache = filled(4)
    cache.frame_B.copy_(torch.tensor([4, 6]))
    cache.write(0, frames_of(9, 1))
    assert cache.kv_U2BPMSK[0, 0, 0, 0, 0, :, 0].tolist() == [3, 9, 2]
    assert cache.kv_U2BPMSK[0, 0, 1, 0, 0, :, 0].tolist() == [9, 1, 2]


def test_a_clone_goes_its_own_way_and_memory_does_not_grow():
    cache = filled(2)
    twin = cache.clone()
    place = cache.kv_U2BPMSK.data_ptr()
    for _ in range(100):
        cache.write(0, frames_of(1, 1))
        cache.advance(1)
    assert cache.kv_U2BPMSK.data_ptr() == place
    assert twin.frame_B.tolist() == [2, 2] and twin.kv_U2BPMSK[0, 0, 0, 0, 0, :, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("dtype", "steps"), [(torch.bfloat16, 256), (torch.int8, 127)])
def test_stored_small_a_vector_keeps_its_direction(dtype, steps):
    cache = KVCache.empty(layers=1, batch=2, tokens=2, heads=1, slots=3, head_dim=4, dtype=dtype)
    kv = torch.randn(2, 2, 2, 1, 3, 4)
    cache.write(0, kv)
    error = (cache.read(0, torch.float32) - kv).abs() / kv.abs().amax(dim=-1, keepdim=True)
    assert 0 < error.max() <= 1 / steps


def test_a_storage_it_does_not_know_is_named():
    with pytest.raises(ValueError, match="float64"):
        KVCache.empty(layers=1, batch=1, tokens=1, heads=1, slots=2, head_dim=4, dtype=torch.float64)
