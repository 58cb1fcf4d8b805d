import numpy as np
import pytest

from roadcast.config import override
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.serving.session import ModelSession
from roadcast.training.scenes import load_scenes, save_scenes
from worlds import micro_config, random_world


@pytest.fixture(scope="module")
def folder(toy_reel, tmp_path_factory):
    config = override(micro_config(), [f"data.reel={toy_reel}"])
    path = tmp_path_factory.mktemp("run") / "world"
    random_world(config).save(path)
    save_scenes(path, Reel(toy_reel), config)
    return path


def drive(session, steers):
    return np.stack([session.step({"steer": steer, "throttle": 0.3}) for steer in steers])


def test_same_seed_same_frames_bit_for_bit(folder):
    first, second = ModelSession.open(folder), ModelSession.open(folder.parent)
    assert np.array_equal(first.reset(1, seed=4), second.reset(1, seed=4))
    ours, theirs = (drive(session, [0.1, -0.4, 0.9, 0.0]) for session in (first, second))
    assert ours.shape == (4, 32, 64, 3) and ours.dtype == np.uint8
    assert np.array_equal(ours, theirs)
    first.reset(1, seed=5)
    assert not np.array_equal(ours, drive(first, [0.1, -0.4, 0.9, 0.0]))


def test_a_snapshot_can_be_returned_to_more_than_once(folder):
    session = ModelSession.open(folder)
    drive(session, [0.2])
    here = session.snapshot()
    left = drive(session, [1.0, 1.0])
    session.restore(here)
    right = drive(session, [-1.0, -1.0])
    session.restore(here)
    assert np.array_equal(left, drive(session, [1.0, 1.0])) and not np.array_equal(left, right)


def test_it_makes_what_evaluation_imagines(folder):
    """The driver's seat and the evaluation run one rollout: from one context, seed and commands come the same frames."""
    import torch

    session, scenes = ModelSession.open(folder), load_scenes(folder)
    session.reset(0, seed=11)
    driven = drive(session, [0.5, -0.5, 0.25])
    commands = torch.tensor([[[0.5, 0.3], [-0.5, 0.3], [0.25, 0.3]]])
    actions = torch.cat([scenes.actions_BFA[:1], commands], dim=1)
    known = torch.cat([scenes.known_BFA[:1], torch.ones_like(commands, dtype=torch.bool)], dim=1)
    imagined = session.world.imagine(scenes.frames_BFHWC[:1], actions, known, [11])
    assert np.array_equal(driven, imagined[0].numpy())


def test_a_scene_that_is_not_there_and_a_world_that_cannot_be_driven(folder):
    session = ModelSession.open(folder)
    with pytest.raises(UserError, match="scene 99 does not exist"):
        session.reset(99)
    with pytest.raises(UserError, match="time_stride"):
        ModelSession(random_world(micro_config(tokenizer__time_stride=2)), load_scenes(folder))
    with pytest.raises(UserError, match="scenes cannot be read"):
        load_scenes(folder.parent)
