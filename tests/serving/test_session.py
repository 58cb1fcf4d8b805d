import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

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


def test_its_state_stays_where_it_is(folder):
    """Steps, resets and restored snapshots move the same tensors: what a CUDA graph and a compiled step rely on."""
    session = ModelSession.open(folder)

    def places():
        return [x.data_ptr() for x in pytree.tree_leaves(session.drive) if isinstance(x, torch.Tensor)]

    before = places()
    drive(session, [0.1, 0.2])
    session.restore(session.snapshot())
    session.reset(1)
    drive(session, [0.1])
    assert places() == before


@pytest.mark.parametrize(("precision", "weights"), [("bfloat16", "full"), ("float32", "int8")])
def test_other_formats_make_nearly_the_same_frames(folder, precision, weights):
    exact, near = (
        ModelSession.open(folder, precision="float32"),
        ModelSession.open(folder, precision=precision, weights=weights),
    )
    ours, theirs = drive(exact, [0.3, -0.2]), drive(near, [0.3, -0.2])
    difference = np.abs(ours.astype(int) - theirs)
    assert 0 < difference.mean() < 4
    with pytest.raises(UserError, match="float8"):
        ModelSession.open(folder, precision="float8")
    with pytest.raises(UserError, match="int4"):
        ModelSession.open(folder, weights="int4")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", [{}, {"attention": "full", "sink_frames": 1}])
def test_the_step_is_one_graph_without_breaks(folder, variant):
    """What torch.compile traces: one graph for all frames, resets and branches (a break would be an error, and is counted)."""
    world = random_world(micro_config(**{f"dynamics__{name}": value for name, value in variant.items()}))
    session = ModelSession(world, load_scenes(folder), steps=2)
    torch._dynamo.reset()
    counters.clear()
    session.advance = torch.compile(session.advance, fullgraph=True, dynamic=False, backend="eager")
    drive(session, [0.1, 0.2])
    session.restore(session.snapshot())
    session.reset(1)
    drive(session, [0.3])
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_session_makes_the_same_frames_in_one_graph_compiled_once(folder):
    """`fullgraph` makes a graph break an error; the counters say that later frames, resets and branches compile nothing more."""
    session = ModelSession.open(folder, steps=2, precision="float32")
    session.reset(1, seed=3)
    eager = drive(session, [0.5, -0.5, 0.25])
    torch._dynamo.reset()
    counters.clear()
    session.reset(1, seed=3)
    session.compile()
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    session.restore(session.snapshot())
    fast = drive(session, [0.5, -0.5, 0.25])
    session.reset(0, seed=1)
    drive(session, [0.1])
    assert counters["stats"]["unique_graphs"] == 1
    assert np.abs(eager.astype(int) - fast).max() <= 1
