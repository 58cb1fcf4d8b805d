import pytest

from roadcast.data.sampler import ClipTable, Order, permute
from roadcast.data.store import Reel, Video
from roadcast.errors import UserError


def video(first: int, frames: int, split: str = "train") -> Video:
    return Video(
        name=f"v{first}", source="", split=split, first=first, frames=frames, t0_ns=0, calibration=None, sha256=""
    )


VIDEOS = [video(0, 5), video(5, 2), video(7, 4, "val"), video(11, 3)]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 1000])
def test_permute_is_a_permutation_keyed_by_the_key(size):
    shuffled = [permute(i, size, key=1) for i in range(size)]
    assert sorted(shuffled) == list(range(size))
    if size > 10:
        assert shuffled != list(range(size)) and shuffled != [permute(i, size, key=2) for i in range(size)]
        assert sum(a == b for a, b in enumerate(shuffled)) < 10


def test_every_clip_lies_inside_one_recording_of_the_split():
    table = ClipTable.of(VIDEOS, "train", span=3)
    assert [table.find(i) for i in range(len(table))] == [(0, 0), (0, 1), (0, 2), (3, 11)]
    assert [ClipTable.of(VIDEOS, "val", 4).find(0)] == [(2, 7)]
    with pytest.raises(UserError, match="no recording of 6 frames, the longest has 5"):
        ClipTable.of(VIDEOS, "train", 6)


def test_ranks_share_one_global_order_and_every_epoch_shows_every_clip():
    whole = Order(clips=12, batch=4, seed=0)
    halves = [Order(clips=12, batch=2, seed=0, rank=r, ranks=2) for r in (0, 1)]
    for step in range(9):
        assert whole.batch_at(step) == halves[0].batch_at(step) + halves[1].batch_at(step)
    epochs = [[clip for step in range(e * 3, e * 3 + 3) for clip in whole.batch_at(step)] for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[0] != [c for s in range(3) for c in Order(12, 4, seed=1).batch_at(s)]


def test_a_reel_offers_the_clips_its_index_promises(toy_reel):
    reel = Reel(toy_reel)
    table = ClipTable.of(reel.videos, "train", 16)
    for i in range(len(table)):
        v, first = table.find(i)
        assert reel.videos[v].split == "train"
        assert reel.videos[v].first <= first and first + 16 <= reel.videos[v].first + reel.videos[v].frames
