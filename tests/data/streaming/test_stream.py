import gc
import pickle
import shutil
import tracemalloc
import uuid
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import sequence_hash
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording, Signal
from roadcast.data.streaming import folder as folders
from roadcast.data.streaming.stream import Stream
from roadcast.data.streaming.streamed_reel import StreamedReel
from roadcast.errors import UserError

ACTIONS = ("steer", "speed")
SMALL = {"block_clips": 8, "window": 2, "lanes": 4}


def noisy(name: str, frames: int) -> Recording:
    """Pictures that do not compress, so that the bytes of a reel are many."""
    chance = np.random.default_rng(frames)
    times = np.arange(frames) * 50_000_000
    images = ((int(t), chance.integers(0, 256, (48, 64, 3), np.uint8)) for t in times)
    return Recording(name, "made", lambda: images, {"steer": Signal(times, np.linspace(-1, 1, frames))})


@pytest.fixture(scope="session")
def road(tmp_path_factory) -> Path:
    """A reel of 3 training recordings, 400 frames together, and one to validate."""
    path = tmp_path_factory.mktemp("road") / "reel"
    with ReelWriter(path, fps=20.0, height=48, width=64) as writer:
        for name, frames, split in (("a", 150, "train"), ("b", 30, "val"), ("c", 130, "train"), ("d", 120, "train")):
            writer.add(noisy(name, frames), split)
    return path


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "WAITS", (0.0, 0.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def memory_road(road) -> str:
    """The address of a copy of the reel in memory, where it can be damaged."""
    fsspec = pytest.importorskip("fsspec")
    address = f"memory://{uuid.uuid4().hex}/reel"
    fsspec.filesystem("memory").put(str(road), address, recursive=True)
    return address


def stream(address: str | Path, **more) -> Stream:
    options = {"split": "train", "frames": 4, "batch": 2, "actions": ACTIONS, "seed": 0, "threads": 1} | SMALL | more
    return Stream(address, **options)


def take(one: Stream, batches: int) -> list:
    return list(islice(one, batches))


def alike(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


@pytest.mark.parametrize("kind", ["path", "file", "memory"])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_stream_gives_what_the_reel_holds(road, memory_road, kind, stride):
    address = {"path": road, "file": f"file://{road}", "memory": memory_road}[kind]
    one, reader = stream(address, stride=stride), Reader([Reel(road)], ACTIONS)
    for step, clip in enumerate(take(one, 12)):
        assert alike(clip, reader.read(one.draw(step)))
        assert (clip.frames_BFHWC is not None) and (clip.video_B != 1).all()


def test_one_epoch_is_every_clip_of_the_split_once(road):
    one = stream(road, batch=1, lanes=1)
    clips = [int(one.draw(step).first_B[0]) for step in range(400 - 9)]
    assert sorted(clips) == [*range(147), *range(180, 307), *range(310, 427)]


def test_one_seed_is_one_sequence_whatever_the_workers_threads_and_ranks(road):
    def proof(ranks: int, workers: int, **more) -> str:
        shares = [stream(road, rank=rank, ranks=ranks, workers=workers, **more) for rank in range(ranks)]
        drawn = [one.draw(step) for one in shares for step in range(16 // ranks)]
        for one in shares:
            for step, clip in enumerate(take(one, 16 // ranks)):
                draw = one.draw(step)
                assert np.array_equal(clip.key_B, draw.key_B) and np.array_equal(clip.first_B, draw.first_B)
        return sequence_hash(drawn)

    ways = [(1, 0, 1), (1, 0, 3), (1, 1, 1), (1, 2, 1), (2, 0, 1), (2, 2, 1), (4, 0, 1)]
    hashes = {proof(ranks, workers, threads=threads) for ranks, workers, threads in ways}
    assert len(hashes) == 1 and proof(1, 0, seed=1) not in hashes


class Counting:
    """A folder that remembers what was read of shards, and that fails as often as it is told to."""

    def __init__(self, folder, failures: int = 0, error: Exception | None = None):
        self.folder, self.address, self.failures, self.error = folder, folder.address, failures, error
        self.ranges: list[tuple[str, int, int]] = []

    def read(self, name, start=0, end=None):
        if self.failures:
            self.failures -= 1
            if self.error:
                raise self.error
            return self.folder.read(name, start, end)[:-1]
        if end is not None:
            self.ranges.append((name, start, end))
        return self.folder.read(name, start, end)

    def __reduce__(self):
        return Counting, (self.folder, self.failures, self.error)


def counted(one: Stream, **more) -> Counting:
    one.reel.folder = Counting(one.reel.folder, **more)
    return one.reel.folder


def test_ranks_and_lanes_read_every_block_of_an_epoch_once(road):
    shares = [stream(road, rank=rank, ranks=2) for rank in (0, 1)]
    read = []
    for one in shares:
        counter = counted(one)
        take(one, 40)
        read.append(set(counter.ranges))
    assert read[0] and read[1] and not read[0] & read[1]
    alone = stream(road, lanes=1, window=2)
    counter = counted(alone)
    take(alone, (400 - 9) // 2)
    first_epoch = counter.ranges[: len(alone.order.blocks)]
    assert len(set(first_epoch)) == len(first_epoch)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 13, 40])
def test_a_stream_goes_on_exactly_where_another_was_left(road, step, workers):
    whole = take(stream(road), step + 6)
    left = stream(road)
    for count, _ in enumerate(left, 1):
        if count == step:
            break
    resumed = stream(road, workers=workers)
    resumed.load_state_dict(left.state_dict())
    rest = take(resumed, 6)
    assert all(map(alike, whole[step:], rest)) and resumed.step == step + 6
    assert all(map(alike, whole[step:], take(left, 6))), "the stream itself goes on too"


def test_resuming_loads_what_comes_and_nothing_that_went_before(road):
    one = stream(road, lanes=1)
    assert len(one.order.blocks) == 50
    one.load_state_dict(one.state_dict() | {"step": 100})
    counter = counted(one)
    take(one, 1)
    assert len(set(counter.ranges)) == len(counter.ranges) <= 3 * one.order.window


def test_a_state_of_another_sequence_is_refused(road):
    for other in ({"seed": 1}, {"batch": 4}, {"lanes": 2}, {"split": "val", "lanes": 1}, {"block_clips": 9}):
        with pytest.raises(UserError, match=f"{road}: the state is of a stream of other data or with other settings"):
            stream(road).load_state_dict(stream(road, **other).state_dict())


def test_memory_stays_within_the_bound_on_a_set_many_times_larger(tmp_path):
    path = tmp_path / "long"
    with ReelWriter(path, fps=20.0, height=48, width=64) as writer:
        for n in range(4):
            writer.add(noisy(f"r{n}", 500 + n), "train")
    one = stream(path, lanes=1, batch=1)
    bound = one.bytes_at_most()
    stored = sum(told["bytes"] for told in one.reel.header["shards"].values())
    assert stored > 10 * bound
    gc.collect()
    tracemalloc.start()
    try:
        seen = set()
        for clip in islice(one, 600):
            seen.update(clip.first_B.tolist())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == 600
    assert peak < 1.3 * bound


def test_a_block_with_much_between_its_pictures_is_read_in_several_runs(road, monkeypatch):
    from roadcast.data.streaming import streamed_reel

    monkeypatch.setattr(streamed_reel, "GAP", -1)
    one = stream(road)
    counter = counted(one)
    assert alike(take(one, 1)[0], Reader([Reel(road)], ACTIONS).read(one.draw(0)))
    assert len(counter.ranges) > 20


@pytest.mark.parametrize("error", [None, OSError("connection reset"), TimeoutError()])
def test_trouble_that_passes_is_waited_out(road, error):
    one = stream(road)
    counted(one, failures=2, error=error)
    assert alike(take(one, 1)[0], Reader([Reel(road)], ACTIONS).read(one.draw(0)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "is missing; check the address, or copy the reel there again, whole"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "were asked for; 3 tries"),
        (lambda file: file.write_bytes(bytes(file.stat().st_size)), "does not match its checksum; 3 tries"),
    ],
    ids=["missing", "short", "damaged"],
)
def test_an_object_that_is_not_whole_is_named(road, tmp_path, damage, words, workers):
    copy = Path(shutil.copytree(road, tmp_path / "copy"))
    one = stream(copy, workers=workers)
    damage(copy / "shards" / "00002.bin")
    with pytest.raises(UserError) as refused:
        take(one, 200)
    told = str(refused.value)
    assert told.startswith(f"{copy}/shards/00002.bin: ") and words in told and "\n" not in told


def test_a_remote_object_that_is_missing_is_named_by_its_address(memory_road):
    fsspec = pytest.importorskip("fsspec")
    one = stream(memory_road)
    fsspec.filesystem("memory").rm(f"{memory_road}/shards/00000.bin")
    with pytest.raises(UserError, match=f"{memory_road}/shards/00000.bin: is missing"):
        take(one, 200)
    with pytest.raises(UserError, match=f"{memory_road}/no/reel.json: is missing"):
        StreamedReel(f"{memory_road}/no")
    with pytest.raises(UserError, match="nonesuch://x/reel: "):
        StreamedReel("nonesuch://x/reel")


def test_tables_are_fetched_once_and_anew_when_the_reel_changed(memory_road, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    StreamedReel(memory_road)
    (kept,) = (tmp_path / "cache" / "roadcast" / "tables").glob("[!.]*")
    assert not list(kept.glob("shards/*"))
    tables = next(name for name in files.find(memory_road) if name.endswith("index.npy"))
    whole = files.cat_file(tables)
    files.pipe_file(tables, whole[:-1] + b"x")
    StreamedReel(memory_road)
    shutil.rmtree(kept)
    with pytest.raises(UserError, match=r"index\.npy: cannot be read .it does not match its checksum in reel"):
        StreamedReel(memory_road)


def test_what_is_kept_on_the_disk_is_not_fetched_again_and_keeps_to_its_limit(road, tmp_path):
    place = tmp_path / "kept"
    first, second = (stream(f"file://{road}", cache=place, cache_bytes=10**7) for _ in range(2))
    counted(first)
    whole = take(first, 60)
    counter = counted(second)
    for file in list((place / "blocks").glob("*-*"))[:1]:
        file.write_bytes(b"damaged")
    assert all(map(alike, whole, take(second, 60)))
    assert len(counter.ranges) <= 1 + 2 * 4 * second.order.window
    small = stream(f"file://{road}", cache=place, cache_bytes=100_000)
    assert all(map(alike, whole, take(small, 60)))
    assert sum(f.stat().st_size for f in (place / "blocks").glob("*-*")) <= 100_000


def test_a_stream_can_be_handed_to_another_process(road, memory_road):
    for address in (road, memory_road):
        one = stream(address)
        whole = take(one, 6)
        assert all(map(alike, take(one, 3), take(pickle.loads(pickle.dumps(stream(address))), 9)[6:]))
        assert len(whole) == 6


def test_lanes_that_cannot_be_are_refused(road):
    with pytest.raises(
        UserError, match=r"lanes = 4 cannot be shared by 6 readers \(2 ranks, 3 workers\); .* such as 6"
    ):
        stream(road, ranks=2, workers=3)
    with pytest.raises(UserError, match="split 'val' has 4 blocks for 8 lanes; give fewer lanes"):
        stream(road, split="val", lanes=8)
    with pytest.raises(UserError, match=f"{road}: split 'test' has no recording of 4 frames"):
        stream(road, split="test")
