"""Sets of features that come piece by piece: what is kept is what all rows would say, or a fair sample of them."""

import numpy as np
import pytest

from roadcast.evaluation.metrics.distribution import distributions
from roadcast.evaluation.metrics.feature_set import FeatureSet, Kept, Reservoir
from roadcast.evaluation.metrics.frechet import Moments, frechet_of_rows


def rows(count: int, width: int = 8, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(count, width)) + shift).astype(np.float32)


def test_a_sample_does_not_depend_on_the_pieces_it_comes_in():
    x = rows(500)
    whole, pieces = Reservoir(8, 64, seed=1), Reservoir(8, 64, seed=1)
    whole.add(x)
    for piece in np.array_split(x, 23):
        pieces.add(piece)
    np.testing.assert_array_equal(whole.rows_KD, pieces.rows_KD)
    np.testing.assert_allclose(whole.moments.scatter_DD, pieces.moments.scatter_DD, atol=1e-6)


def test_every_row_is_kept_as_often_as_any_other():
    """Of 40 rows 10 are kept: each in a quarter of 2,000 draws, give or take five standard deviations."""
    numbers, kept = np.arange(40, dtype=np.float32)[:, None], np.zeros(40)
    for seed in range(2000):
        reservoir = Reservoir(1, 10, seed)
        reservoir.add(numbers)
        assert len(set(reservoir.rows_KD[:, 0])) == 10
        kept[reservoir.rows_KD[:, 0].astype(int)] += 1
    assert np.abs(kept - 500).max() < 5 * (2000 * 0.25 * 0.75) ** 0.5


def test_the_distance_is_of_all_rows_though_few_are_kept():
    real, made = rows(900), rows(900, seed=1, shift=0.2)
    sets = {"real": FeatureSet(2, most=100), "model": FeatureSet(most=100)}
    for piece_real, piece_made in zip(np.split(real, 30), np.split(made, 30), strict=True):
        sets["real"].add(piece_real, clips=30)
        sets["model"].add(piece_made, clips=30)
    found = distributions(sets)["model"]
    assert found.frechet.mean == pytest.approx(frechet_of_rows(real, made), rel=1e-9)
    assert found.count == 900 and [n for n, _ in found.by_count][-2:] == [100, 900]
    everything = distributions({"real": FeatureSet.of(real, parts=2), "model": FeatureSet.of(made)})["model"]
    spread, expected = (d.frechet.high - d.frechet.mean for d in (found, everything))
    assert 0.5 * expected < spread < 2 * expected
    assert found.kernel == pytest.approx(everything.kernel, rel=0.5)


def test_clips_take_turns_between_the_halves_however_many_come_at_once():
    clips = np.repeat(np.arange(7, dtype=np.float32), 3)[:, None]  # three rows a clip
    features = FeatureSet(parts=2)
    for start, count in ((0, 2), (2, 1), (3, 1), (4, 3)):
        features.add(clips[3 * start : 3 * (start + count)], count)
    first, second = features.halves()
    assert set(first.rows_KD[:, 0]) == {0, 2, 4, 6} and set(second.rows_KD[:, 0]) == {1, 3, 5}
    whole = features.kept()
    assert whole.whole and whole.moments.count == 21 and len(whole.rows_KD) == 21
    np.testing.assert_allclose(whole.moments.covariance_DD, Moments.of(clips).covariance_DD)


def test_memory_does_not_grow_with_the_number_of_rows():
    """Bytes that are held after N rows and after 4 N, past what is kept."""
    features, held = FeatureSet(most=256), []
    for _ in range(2):
        for _ in range(10 if not held else 30):
            features.add(rows(100, 32), clips=100)
        kept: Kept = features.kept()
        held.append(kept.rows_KD.nbytes + kept.moments.scatter_DD.nbytes)
    assert features.clips == 4000 and held[0] == held[1]
