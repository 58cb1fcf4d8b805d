from concurrent.futures import ThreadPoolExecutor

from roadcast.data.streaming.cache import DiskCache


def kept(cache: DiskCache) -> set[str]:
    return {p.name for p in cache.path.iterdir() if p.name != ".lock"}


class Maker:
    """Makes what is asked of it, and counts."""

    def __init__(self):
        self.made = 0

    def __call__(self) -> bytes:
        self.made += 1
        return bytes(10)


def whole(data: bytes) -> bool:
    return data == bytes(10)


def test_what_is_kept_is_not_made_again_and_what_was_unused_for_longest_goes_first(tmp_path):
    cache, make = DiskCache(tmp_path / "c", limit=30), Maker()
    for name in "abcabcad":
        assert cache.get(name, make, whole) == bytes(10)
    assert make.made == 4 and kept(cache) == {"a", "c", "d"}


def test_what_was_damaged_is_made_anew(tmp_path):
    cache, make = DiskCache(tmp_path, limit=30), Maker()
    cache.get("a", make, whole)
    (tmp_path / "a").write_bytes(b"cut")
    assert cache.get("a", make, whole) == bytes(10) and make.made == 2
    assert (tmp_path / "a").read_bytes() == bytes(10)


def test_what_is_larger_than_all_the_room_is_not_kept(tmp_path):
    cache = DiskCache(tmp_path / "c", limit=9)
    assert cache.get("a", Maker(), whole) == bytes(10)
    assert not cache.path.exists()


def test_threads_that_share_a_cache_keep_to_its_limit(tmp_path):
    cache = DiskCache(tmp_path, limit=50)
    with ThreadPoolExecutor(8) as pool:
        assert all(map(whole, pool.map(lambda n: cache.get(str(n % 20), Maker(), whole), range(200))))
    assert len(kept(cache)) == 5
