import time
from math import factorial

import numpy as np
import pytest
from torch.utils.data import DataLoader

from roadcast.data.loading.sampler import ClipTable, Sampler, permute, sequence_hash
from roadcast.data.reel.store import Reel, Video
from roadcast.errors import UserError


def video(first: int, frames: int, split: str = "train") -> Video:
    return Video(
        name=f"v{first}", source="", split=split, first=first, frames=frames, t0_ns=0, calibration=None, sensors={},
        sha256="",
    )  # fmt: skip


VIDEOS = [video(0, 5), video(5, 2), video(7, 4, "val"), video(11, 3)]


@pytest.mark.parametrize("size", [*range(1, 40), 64, 65, 1000, 65536, 65537, 99999])
def test_permute_is_a_permutation_keyed_by_the_key(size):
    shuffled = permute(np.arange(size), size, 1)
    assert np.array_equal(np.sort(shuffled), np.arange(size))
    if size > 40:
        assert (shuffled == np.arange(size)).sum() < 10 and (shuffled == permute(np.arange(size), size, 2)).sum() < 10


def test_permute_of_a_part_is_that_part_of_the_whole_even_of_a_range_that_no_memory_holds():
    part = np.array([999, 3, 500])
    assert np.array_equal(permute(part, 1000, 7), permute(np.arange(1000), 1000, 7)[part])
    huge = 10**15 + 1
    places = np.arange(huge - 50_000, huge)
    shuffled = permute(places, huge, 7)
    assert len(np.unique(shuffled)) == len(places) and 0 <= shuffled.min() < shuffled.max() < huge
    assert chi_square(shuffled, huge) < 160


def chi_square(values: np.ndarray, size: int, bins: int = 100) -> float:
    """About bins - 1 = 99 for uniform values in range(size), with a standard deviation of 14."""
    count = np.bincount((values.astype(float) / size * bins).astype(int), minlength=bins)
    expected = len(values) / bins
    return float(((count - expected) ** 2 / expected).sum())


def test_permute_looks_uniform():
    size = 10**7
    shuffled = permute(np.arange(100_000), size, 3)
    assert chi_square(shuffled, size) < 160, "where the first places go"
    assert chi_square(np.diff(shuffled) % size, size) < 160, "from one place to the next"
    assert chi_square((shuffled - permute(np.arange(100_000), size, 4)) % size, size) < 160, "from one key to the next"
    assert chi_square(np.array([permute(5, 1000, key)[0] for key in range(5000)]), 1000) < 160, "one place, many keys"


def test_every_shuffle_of_four_comes_up_about_as_often():
    names, counts = np.unique([permute(np.arange(4), 4, 0, key) for key in range(6000)], axis=0, return_counts=True)
    expected = 6000 / factorial(4)
    assert len(names) == factorial(4) and ((counts - expected) ** 2 / expected).sum() < 23 + 4 * 46**0.5


def test_every_clip_lies_inside_one_recording_of_the_split():
    table = ClipTable.of(VIDEOS, "train", span=3)
    assert np.stack(table.find(np.arange(len(table))), 1).tolist() == [[0, 0], [0, 1], [0, 2], [3, 11]]
    assert ClipTable.of(VIDEOS, "val", 4).find(0) == (2, 7)
    with pytest.raises(UserError, match="no recording of 6 frames, the longest has 5"):
        ClipTable.of(VIDEOS, "train", 6)


def test_a_reel_offers_the_clips_its_index_promises(toy_reel):
    reel = Reel(toy_reel)
    table = ClipTable.of(reel.videos, "train", 16)
    for v, first in zip(*table.find(np.arange(len(table))), strict=True):
        assert reel.videos[v].split == "train"
        assert reel.videos[v].first <= first and first + 16 <= reel.videos[v].first + reel.videos[v].frames


class Made:
    """As much of a reel as a sampler needs: recordings of these lengths."""

    def __init__(self, name: str, *lengths: int, fps: float = 20.0, height: int = 48, width: int = 64):
        self.path, self.fps, self.height, self.width = name, fps, height, width
        ends = np.cumsum(lengths).tolist()
        self.videos = [video(end - length, length) for end, length in zip(ends, lengths)]


CURRICULUM = [(0, 4), (7, 8)]
MIXTURE = {"weights": (1, 2), "frames": CURRICULUM}


def sampler(*reels: Made, batch: int = 12, seed: int = 0, **more) -> Sampler:
    return Sampler(
        reels or (Made("a", 30, 9, 25), Made("b", 40)), "train", **{"frames": 4} | more, batch=batch, seed=seed
    )


class Draws:
    """A data set of draws, as the loader's workers see it."""

    def __init__(self, sampler: Sampler):
        self.sampler = sampler

    def __getitem__(self, step: int):
        return self.sampler.draw(step)

    def through_workers(self, workers: int, steps: range):
        return DataLoader(self, batch_size=None, sampler=steps, num_workers=workers)


def test_one_seed_is_one_sequence_of_samples_whatever_the_workers_and_ranks():
    def proof(workers: int, ranks: int, seed: int = 0) -> str:
        all_ranks = [sampler(batch=12 // ranks, seed=seed, rank=rank, ranks=ranks, **MIXTURE) for rank in range(ranks)]
        return sequence_hash(draw for one in all_ranks for draw in Draws(one).through_workers(workers, range(20)))

    hashes = {proof(workers, ranks) for workers in (0, 1, 2) for ranks in (1, 2, 4)} | {proof(0, 3)}
    assert len(hashes) == 1 and proof(0, 1, seed=1) not in hashes


@pytest.mark.parametrize("step", [1, 6, 7, 13])
def test_a_run_resumed_at_any_step_draws_the_rest(step):
    whole, resumed = sampler(**MIXTURE), sampler(**MIXTURE)
    rest = sequence_hash(whole.draw(s) for s in range(20) if s >= step)
    assert rest == sequence_hash(Draws(resumed).through_workers(1, range(step, 20)))
    assert rest != sequence_hash(whole.draw(s) for s in range(20 - step))


def clips_of(one: Sampler, steps: range) -> np.ndarray:
    """(reel, first frame) of every sample, int64 [N, 2]."""
    return np.concatenate([np.stack([(d := one.draw(s)).reel_B, d.first_B], 1) for s in steps])


def test_every_epoch_shows_every_clip_once_in_an_order_of_its_own():
    epochs = [clips_of(sampler(Made("a", 15, 15), batch=6), range(e * 4, e * 4 + 4)) for e in range(3)]
    clips = sorted(clips_of(sampler(Made("a", 15, 15), batch=24), range(1)).tolist())
    assert len(np.unique(clips, axis=0)) == 24
    assert all(sorted(epoch.tolist()) == clips for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_keys_are_places_in_the_sequence_of_all_ranks():
    ranks = [sampler(batch=6, rank=r, ranks=2) for r in (0, 1)]
    assert np.concatenate([one.draw(s).key_B for s in range(3) for one in ranks]).tolist() == list(range(36))


def test_reels_share_every_beginning_by_weight_and_each_gives_all_its_clips_before_one_again():
    one = sampler(batch=1, weights=(1, 2))
    samples = clips_of(one, range(400))
    for n in range(1, 400):
        assert abs((samples[:n, 0] == 0).sum() - n / 3) < 1
    for reel, clips in ((0, 27 + 6 + 22), (1, 37)):
        firsts = samples[samples[:, 0] == reel, 1]
        for epoch in range(len(firsts) // clips):
            assert len(np.unique(firsts[epoch * clips : (epoch + 1) * clips])) == clips


def test_without_weights_every_clip_is_as_likely():
    counts = np.bincount(clips_of(sampler(batch=92), range(1))[:, 0])
    assert counts.tolist() == [27 + 6 + 22, 37]


def test_reels_of_other_rates_are_read_at_one_rate_a_step_by_their_own_stride():
    one = sampler(
        Made("slow", 60, fps=10.0), Made("fast", 90, fps=20.0), Made("other", 60, fps=10.0), weights=(1, 2, 1)
    )
    draws = [one.draw(step) for step in range(40)]
    assert {(d.stride, *np.unique(d.reel_B).tolist()) for d in draws} == {(2, 1), (1, 0, 2)}
    fast = np.cumsum([d.stride == 2 for d in draws])
    assert all(abs(fast[n] - (n + 1) / 2) <= 1 for n in range(40))
    assert max(d.first_B.max() for d in draws if d.stride == 2) <= 90 - 7
    assert sampler(Made("a", 60), frames=4, fps=10.0).draw(0).stride == 2


def test_a_curriculum_lengthens_clips_and_begins_epochs_anew_with_the_clips_there_are_then():
    one = sampler(Made("a", 10, 20), batch=6, frames=[(0, 4), (5, 15)])
    assert [one.draw(step).frames for step in (0, 4, 5, 50)] == [4, 4, 15, 15]
    assert sorted(clips_of(one, range(5, 6))[:, 1].tolist()) == list(range(10, 16))
    assert clips_of(one, range(0, 4))[:, 1].min() < 7


@pytest.mark.parametrize(
    ("reels", "more", "words"),
    [
        ((Made("a", 30), Made("b", 30, height=32)), {}, "b: pictures of 32x64, but a has 48x64"),
        (
            (Made("a", 30), Made("b", 30, fps=30.0)),
            {},
            "b: 30 frames a second are no whole multiple of the 20 asked for",
        ),
        ((Made("a", 30),), {"fps": 40.0}, "a: 20 frames a second are no whole multiple of the 40 asked for"),
        ((Made("a", 30),), {"fps": 0.0}, "fps = 0.0; give a positive number"),
        ((Made("a", 30), Made("b", 3)), {}, "b: split 'train' has no recording of 4 frames"),
        ((Made("a", 30), Made("b", 30)), {"weights": (1,)}, "1 for 2 reels"),
        ((Made("a", 30), Made("b", 30)), {"weights": (1, -1)}, "weight -1 of a reel"),
        ((Made("a", 30),), {"frames": [(3, 4)]}, "the first from step 0"),
        ((Made("a", 30),), {"frames": [(0, 4), (9, 6), (9, 8)]}, "steps rising"),
        ((Made("a", 30),), {"frames": 0}, "0 frames from step 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(reels, more, words):
    with pytest.raises(UserError) as refused:
        sampler(*reels, **more)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_draw_costs_no_more_for_ten_million_clips():
    one = sampler(Made("a", 10**7), Made("b", 10**7), batch=8)
    one.draw(0)
    begun = time.perf_counter()
    for step in range(50):
        one.draw(10**6 + step)
    assert (time.perf_counter() - begun) / 50 < 5e-3
