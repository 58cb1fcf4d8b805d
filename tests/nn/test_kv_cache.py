import torch

from roadcast.nn.kv_cache import KVCache


def filled(frames: int, slots: int = 3, chunk: int = 1) -> KVCache:
    """A cache that has taken in frames 0, 1, ... whose keys are all equal to the frame's number."""
    cache = KVCache.empty(layers=1, batch=2, tokens=2, heads=1, slots=slots, head_dim=4)
    for first in range(0, frames, chunk):
        size = min(chunk, frames - first)
        k = torch.arange(first, first + size).float().view(1, 1, 1, -1, 1).expand(2, 2, 1, size, 4)
        cache.write(0, k, -k)
        cache.advance(size)
    return cache


def test_the_ring_holds_the_newest_frames_and_knows_their_age():
    for frames in (1, 2, 3, 4, 11):
        for chunk in (1, 2, 5):
            cache = filled(frames, chunk=chunk)
            k, v = cache.read(0)
            age = cache.age_BS()
            seen = age[0] <= cache.frame_B[0]
            assert sorted(k[0, 0, 0, seen, 0].tolist()) == list(range(max(0, frames - 3), frames))
            assert torch.equal(k[0, 0, 0, seen, 0], (frames - age[0, seen]).float())
            assert torch.equal(v, -k)


def test_rows_may_be_at_different_frames():
    cache = filled(4)
    cache.frame_B = torch.tensor([4, 6])
    cache.write(0, torch.full((2, 2, 1, 1, 4), 9.0), torch.zeros(2, 2, 1, 1, 4))
    assert cache.k_UBPNSK[0, 0, 0, 0, :, 0].tolist() == [3, 9, 2]
    assert cache.k_UBPNSK[0, 1, 0, 0, :, 0].tolist() == [9, 1, 2]


def test_a_clone_goes_its_own_way_and_memory_does_not_grow():
    cache = filled(2)
    twin = cache.clone()
    bytes_before = cache.k_UBPNSK.numel()
    for _ in range(100):
        cache.write(0, torch.ones(2, 2, 1, 1, 4), torch.ones(2, 2, 1, 1, 4))
        cache.advance(1)
    assert cache.k_UBPNSK.numel() == bytes_before
    assert twin.frame_B.tolist() == [2, 2] and twin.k_UBPNSK[0, 0, 0, 0, :, 0].tolist() == [0, 1, 0]
