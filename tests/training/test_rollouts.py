"""Stored rollouts: made once, by the world's own rollout, and read in their place beside the true latents."""

import numpy as np
import pytest
import torch

from roadcast.config import override
from roadcast.data.loading.latents import LatentReel, cache_latents
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.nn.causal_conv import Stream
from roadcast.objectives.base import Stored
from roadcast.objectives.self_context import SelfContext
from roadcast.training.rollouts import cached_rollouts, pieces
from roadcast.training.run import train
from worlds import micro_config, random_world

STORED = Stored(depth=16, context=3, steps=1)


def silent(*_):
    pass


@pytest.fixture(scope="module")
def made(toy_reel, tmp_path_factory) -> tuple:
    """World, reel, true latents, and the world's rollouts."""
    folder, world, reel = tmp_path_factory.mktemp("caches"), random_world(), Reel(toy_reel)
    true = cache_latents(reel, world.tokenizer, Stream, folder / "latents", "a", silent)
    return world, reel, true, cached_rollouts(world, reel, true, folder / "rollouts", STORED, 7, silent)


def test_stored_rollouts_are_what_the_worlds_own_rollout_makes_of_the_same_seeds(made):
    world, reel, true, drifted = made
    video = next(v for v in reel.videos if v.split == "train")
    for first, frames in ((video.first + 16, 16), (video.first + 48, 12)):
        given = torch.from_numpy(np.array(true.z_THWC[None, first : first + 3])).float()
        actions, known = (torch.from_numpy(x)[None] for x in reel.actions(first, frames, 1, world.actions))
        with torch.no_grad():
            future = list(world.rollout(1).unroll(given, actions, known, [(7 << 32) + first]))
        expected, stored = torch.cat([given, *future], dim=1)[0], torch.from_numpy(np.array(drifted.z_THWC))
        torch.testing.assert_close(stored[first : first + frames].float(), expected, atol=2e-3, rtol=2e-3)
        assert not np.allclose(drifted.z_THWC[first + 3 : first + frames], true.z_THWC[first + 3 : first + frames])


def test_every_training_recording_is_imagined_and_no_other(made):
    _, reel, true, drifted = made
    for video in reel.videos:
        rows = slice(video.first, video.first + video.frames)
        assert drifted.z_THWC[rows].any() == (video.split == "train")
        if video.split == "train":
            begun = drifted.z_THWC[rows].reshape(video.frames, -1)[::16]
            assert np.array_equal(begun, true.z_THWC[rows].reshape(video.frames, -1)[::16])
    covered = [
        f for frames, firsts in pieces(reel, 16).items() for first in firsts for f in range(first, first + frames)
    ]
    assert sorted(covered) == [f for v in reel.videos if v.split == "train" for f in range(v.first, v.first + v.frames)]


def test_what_has_drifted_lies_beside_the_same_frames_and_is_left_out_where_not_asked_for(made):
    _, reel, true, drifted = made
    with_drift = Clips([reel], "train", 8, 3, ("steer",), 0, latents=[true], drifted=[drifted])[5]
    plain = Clips([reel], "train", 8, 3, ("steer",), 0, latents=[true])[5]
    assert plain.drifted_BTHWC is None and torch.equal(plain.z_BTHWC, with_drift.z_BTHWC)
    for b, first in enumerate(with_drift.first_B.tolist()):
        expected = torch.from_numpy(np.array(drifted.z_THWC[first : first + 8])).float()
        assert torch.equal(with_drift.drifted_BTHWC[b], expected)
    halves = with_drift.chunk(3)
    assert torch.equal(torch.cat([half.drifted_BTHWC for half in halves]), with_drift.drifted_BTHWC)


def test_a_cache_is_used_again_by_the_same_world_and_made_anew_by_another_or_after_a_kill(made, tmp_path):
    world, reel, true, drifted = made
    calls = []
    again = cached_rollouts(world, reel, true, drifted.path, STORED, 7, lambda *a: calls.append(a))
    assert not calls and again.info == drifted.info

    def kill(done: int, total: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cached_rollouts(world, reel, true, tmp_path / "rollouts", STORED, 7, kill)
    assert not list(tmp_path.iterdir())
    whole = cached_rollouts(world, reel, true, tmp_path / "rollouts", STORED, 7, lambda *a: calls.append(a))
    assert np.array_equal(whole.z_THWC, drifted.z_THWC) and calls[-1][0] == calls[-1][1] == 120
    other = cached_rollouts(random_world(seed=1), reel, true, tmp_path / "rollouts", STORED, 7, silent)
    assert not np.array_equal(other.z_THWC, drifted.z_THWC)


def self_context(reel, *changes):
    settings = [
        f"data.reel={reel}", "train.tokenizer.steps=2", "train.dynamics.objective=self_context", "train.dynamics.steps=2",
        "train.dynamics.options={stored = 16, context = 3, share_from = 1.0, share_to = 1.0}",
    ]  # fmt: skip
    return override(micro_config(), [*settings, *changes])


def test_a_stage_learns_from_the_rollouts_in_its_folder(toy_reel, tmp_path, monkeypatch):
    """The clips of both steps are rows of what is kept there; held-out clips come without."""
    asked = []
    prepare = SelfContext.prepare

    def told(self, clip, generator):
        asked.append((torch.is_grad_enabled(), clip))
        return prepare(self, clip, generator)

    monkeypatch.setattr(SelfContext, "prepare", told)
    train(self_context(toy_reel, "train.dynamics.clip_frames=5"), tmp_path, report=silent, tell=silent)
    kept = LatentReel(tmp_path / "dynamics" / "rollouts").z_THWC
    learnt = [clip for training, clip in asked if training and clip.drifted_BTHWC is not None]
    assert len(learnt) == 2 and not any(clip.drifted_BTHWC is not None for training, clip in asked if not training)
    for clip in learnt:
        rows = np.stack([kept[first : first + 5] for first in clip.first_B.tolist()])
        assert np.array_equal(clip.drifted_BTHWC.numpy(), rows.astype(np.float32))


@pytest.mark.parametrize("change", ["tokenizer.time_stride=2", "train.dynamics.augment={flip = 1.0}"])
def test_rollouts_are_stored_only_where_latents_are(toy_reel, tmp_path, change):
    with pytest.raises(UserError, match=r"train.dynamics.options.stored = 16.*set tokenizer.time_stride = 1 and no"):
        train(self_context(toy_reel, change), tmp_path, report=silent, tell=silent)
