import numpy as np
import pytest

from roadcast.data.reel.store import Video
from roadcast.data.streaming.block_order import BlockOrder, Blocks, in_batches
from roadcast.errors import UserError


def videos(*lengths: int, split: str = "train") -> list[Video]:
    ends = np.cumsum(lengths).tolist()
    return [Video(f"v{e}", "", split, e - n, n, 0, None, {}, "") for e, n in zip(ends, lengths)]


def order(blocks: Blocks, **more) -> BlockOrder:
    return BlockOrder(**{"blocks": blocks, "seed": 0, "lanes": 2, "window": 3, "batch": 4, "frames": 4} | more)


def firsts(one: BlockOrder, lane: int, place: int, clips: int) -> list[int]:
    """The first frames of the next `clips` clips of a lane."""
    return next(in_batches(one.windows(lane, place), clips)).first_M.tolist()


def test_every_clip_begins_in_one_block_and_lies_inside_it():
    blocks = Blocks.of([*videos(40, 3, 11), *videos(50, split="val")], "train", 4, 10)
    begin = [first + k for first, clips in zip(blocks.first_N, blocks.clips_N) for k in range(clips)]
    assert begin == [*range(37), *range(43, 51)]
    assert [blocks.frames(b) for b in range(len(blocks))] == [(0, 13), (10, 23), (20, 33), (30, 40), (43, 54)]
    assert blocks.video_N.tolist() == [0, 0, 0, 0, 2]
    for split, span in (("test", 4), ("train", 41)):
        with pytest.raises(UserError, match=f"split '{split}' has no recording of {span} frames"):
            Blocks.of(videos(40), split, span, 10)


def test_an_epoch_of_all_lanes_is_every_clip_once_and_the_next_has_another_order():
    blocks = Blocks.of(videos(70, 33, 20), "train", 4, 8)
    every = sorted(f + k for f, n in zip(blocks.first_N, blocks.clips_N) for k in range(n))
    for lanes in (1, 2, 5):
        one = order(blocks, lanes=lanes)
        many = [len({*firsts(one, c, 0, 400)}) for c in range(lanes)]
        epochs = [[firsts(one, c, e * n, n) for c, n in enumerate(many)] for e in (0, 1)]
        assert all(sorted(clip for lane in epoch for clip in lane) == every for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_a_lane_goes_on_from_any_place():
    one = order(Blocks.of(videos(70, 33, 20), "train", 4, 8))
    whole = firsts(one, 1, 0, 300)
    for place in (1, 7, 24, 60, 155, 299):
        assert firsts(one, 1, place, 300 - place) == whole[place:]
    assert [one.draw(n).first_B.tolist() for n in (1, 3, 5)] == [whole[0:4], whole[4:8], whole[8:12]]


def test_a_window_mixes_the_clips_of_its_blocks_and_of_no_others():
    one = order(Blocks.of(videos(403), "train", 4, 10), lanes=1, window=4)
    first, second = (w for w, _ in zip(one.windows(0, 0), range(2)))
    assert len(set(first.block_M)) == len(set(second.block_M)) == 4 and not set(first.block_M) & set(second.block_M)
    changes = (np.diff(first.block_M) != 0).mean()
    assert 0.5 < changes < 0.95, "three of four neighbours are of another block"


def test_neighbours_are_nearly_as_far_apart_as_in_a_full_shuffle():
    blocks = Blocks.of(videos(*[500] * 40), "train", 16, 64)
    one = order(blocks, lanes=4, window=8, batch=8, frames=16)
    clips = np.stack([one.draw(n).first_B for n in range(300)])
    near = np.abs(np.diff(clips, axis=1)).mean()
    assert near > 0.8 * 20_000 / 3, "independent places are a third of the whole apart"
