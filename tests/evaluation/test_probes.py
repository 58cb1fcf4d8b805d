"""Linear probes: what lies open in features is found, what does not is not, and pictures come to features as told."""

import numpy as np
import pytest
import torch

from moving import features_config, moving
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.extractors import jepa_extractor
from roadcast.evaluation.probes import (
    Probe,
    encoder_features,
    features_of,
    gain,
    pixel_features,
    places_of,
    probe,
    ridge,
    signal_of,
)
from roadcast.flow.world import World
from worlds import micro_config, random_world


def one(train: np.ndarray, signal: np.ndarray, test: np.ndarray, truth: np.ndarray) -> Probe:
    return probe(train, {"signal": signal}, test, {"signal": truth})["signal"]


def planted(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """300 training rows and 100 others of 40 features, of very different sizes, and a signal of two of them, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 40))
    y = 2 * x[:, 3] - x[:, 17] + 5 + noise * rng.normal(size=400)
    x = x * 10 ** rng.uniform(-3, 3, 40) + 100
    return x[:300].astype(np.float32), y[:300], x[300:].astype(np.float32), y[300:]


def test_a_planted_signal_is_found_to_the_last_bit_of_noise():
    clear, noisy = (one(*planted(noise)) for noise in (0.0, 5**0.5))  # a signal of variance 5 under as much noise
    assert (
        clear.r2 is not None
        and clear.r2.mean > 0.999
        and clear.correlation is not None
        and clear.correlation.low > 0.999
    )
    assert noisy.r2 is not None and noisy.r2.low < 0.5 < noisy.r2.high and noisy.r2.mean < 0.65


def test_nothing_is_found_in_noise():
    rng = np.random.default_rng(1)
    found = one(rng.normal(size=(300, 500)), rng.normal(size=300), rng.normal(size=(200, 500)), rng.normal(size=200))
    assert found.r2 is not None and -0.2 < found.r2.mean < 0.05
    assert found.correlation is None or found.correlation.low < 0.1


def test_the_gain_is_the_difference_of_r2_and_clear_where_one_knows_more():
    train, signal, test, truth = planted(1.0)
    ours, theirs = one(train, signal, test, truth), one(train[:, :10], signal, test[:, :10], truth)
    found = gain(ours, theirs, truth)
    assert ours.r2 is not None and theirs.r2 is not None
    assert found.mean == pytest.approx(ours.r2.mean - theirs.r2.mean) and found.low > 0
    assert gain(ours, ours, truth).high == pytest.approx(0, abs=1e-6)


def test_ridge_agrees_with_its_primal_form_and_chooses_a_penalty_for_each_signal():
    rng = np.random.default_rng(2)
    x, k = rng.normal(size=(60, 5)), rng.normal(size=(7, 5))
    signals = np.stack([x @ rng.normal(size=5), rng.normal(size=60)], axis=1)
    both = ridge(x, signals, k)
    np.testing.assert_allclose(both[:, :1], ridge(x, signals[:, :1], k))
    mean, std = x.mean(axis=0), x.std(axis=0)
    xs, ks, y = (x - mean) / std, (k - mean) / std, signals[:, 0] - signals[:, 0].mean()
    penalty = 1e-4 * np.trace(xs @ xs.T) / 60  # a linear signal without noise asks for the least
    primal = ks @ np.linalg.solve(xs.T @ xs + penalty * np.eye(5), xs.T @ y) + signals[:, 0].mean()
    np.testing.assert_allclose(both[:, 0], primal)
    assert np.abs(both[:, 1] - signals[:, 1].mean()).max() < np.abs(signals[:, 1]).max() / 2, "noise is shrunk away"


def test_pixels_and_features_of_a_reels_clips_come_in_the_order_of_their_places(toy_reel):
    reel = Reel(toy_reel)
    encoder = World(features_config()).features
    assert encoder is not None
    places = places_of(reel, {"train"}, 4, 25)
    assert len(places) == 6 and all(reel.videos[number].split == "train" for number, _ in places)
    found = features_of(
        reel, places, 4, {"pixels": pixel_features, "encoder": encoder_features(encoder, 2, 2)}, batch=4
    )
    assert found["pixels"].shape == (6, 4 * 16 * 32 * 3) and found["encoder"].shape == (6, 2 * 2 * 2 * 24)
    first = places[5][1]
    frames = torch.from_numpy(np.stack([reel.read(first + f) for f in range(4)]))[None]
    np.testing.assert_allclose(found["pixels"][5], pixel_features(frames)[0])
    np.testing.assert_allclose(found["encoder"][5], encoder_features(encoder, 2, 2)(frames)[0], atol=1e-5)
    assert signal_of(reel, places, 4, "speed")[5] == pytest.approx(reel.signals["speed"][first : first + 4].mean())


def test_a_worlds_own_features_are_an_extractor_told_apart_by_its_encoder_alone(tmp_path):
    world, other = random_world(features_config()), random_world(features_config(), seed=1)
    world.save(tmp_path / "world")
    ours = jepa_extractor(tmp_path / "world")
    frames = moving(3, 5).frames_BFHWC
    rows = ours.features(frames)
    assert ours.name == "jepa_frechet" and rows.shape == (3, 24) and rows.dtype == np.float32
    np.testing.assert_allclose(rows, ours.features(frames[:, :4]), err_msg="the fifth frame fills no tubelet")
    other.features = world.features
    other.save(tmp_path / "same_eyes")
    random_world(features_config(), seed=1).save(tmp_path / "other")
    assert jepa_extractor(tmp_path / "same_eyes").identity == ours.identity
    assert jepa_extractor(tmp_path / "other").identity != ours.identity
    random_world(micro_config()).save(tmp_path / "blind")
    with pytest.raises(UserError, match="the world has no encoder of features"):
        jepa_extractor(tmp_path / "blind")
