"""An exported world shows what the session it came from shows, and needs none of its code."""

import json
import subprocess
import sys

import numpy as np
import pytest

from roadcast.config import override
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.safetensors import save_tensors
from roadcast.serving.export import export, trace
from roadcast.serving.exported import ExportedSession
from roadcast.serving.session import ModelSession
from roadcast.training.scenes import load_scenes, save_scenes
from worlds import micro_config, random_world

COMMANDS = [{"steer": 0.4, "throttle": 0.2}, {"steer": -0.9}, {}, {"throttle": 1.0}, {"steer": 0.1, "throttle": -0.3}]


def session_over(reel, folder, **changes) -> ModelSession:
    """A session in two passes a frame over a world that is smaller still, for a graph is traced node by node."""
    changes = dict(dynamics__depth=2, dynamics__time_every=2, tokenizer__widths=(8, 16)) | changes
    config = override(micro_config(**changes), [f"data.reel={reel}"])
    save_scenes(folder, Reel(reel), config)
    return ModelSession(random_world(config), load_scenes(folder), steps=2)


def drive(session, commands=COMMANDS) -> np.ndarray:
    return np.stack([session.step(command) for command in commands]).astype(int)


@pytest.fixture(scope="module")
def pair(toy_reel, tmp_path_factory) -> tuple[ModelSession, ExportedSession]:
    """A session, and another over the graphs traced from it, run as they are, without a compiler."""
    session = session_over(toy_reel, tmp_path_factory.mktemp("world"))
    graphs = trace(session)
    about = json.loads(json.dumps(graphs.about))
    return session, ExportedSession(about, graphs.scenes, graphs.start.module(), graphs.step.module())


def test_the_graphs_make_the_frames_of_the_session(pair):
    """From any scene, with any seed, under commands known and unknown, for longer than the model remembers."""
    session, exported = pair
    for scene, seed in ((0, 0), (3, 7)):
        assert np.abs(session.reset(scene, seed).astype(int) - exported.reset(scene, seed)).max() <= 1
        ours, theirs = drive(session, 2 * COMMANDS), drive(exported, 2 * COMMANDS)
        assert np.abs(ours - theirs).max() <= 1
        assert np.abs(ours - ours[0]).max() > 8, "frames that stand still would prove nothing"


def test_other_seeds_and_commands_make_other_frames(pair):
    _, exported = pair
    made = []
    for seed, steer in ((0, 0.5), (0, 0.5), (1, 0.5), (0, -0.5)):
        exported.reset(1, seed)
        made.append(drive(exported, [{"steer": steer}] * 2))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2]) and not np.array_equal(made[0], made[3])


def test_a_snapshot_can_be_returned_to_more_than_once(pair):
    _, exported = pair
    exported.reset()
    here = exported.snapshot()
    ahead = drive(exported)
    for _ in range(2):
        exported.restore(here)
        assert np.array_equal(drive(exported), ahead)


def test_it_tells_what_a_loader_must_know(pair):
    session, exported = pair
    about = exported._about
    assert (about["fps"], about["height"], about["width"], about["steps"]) == (20.0, 32, 64, 2)
    assert [action["name"] for action in about["actions"]] == list(session.actions) and about["action_window"] == 3
    assert [x["name"] for x in about["step"]["noise"]] == ["noise", "context_noise"]
    state = {x["name"]: x["shape"] for x in about["step"]["state"]}
    assert state["drive.rollout.history.cache.kv_U2BPMSK"][5] == 4 and state["known_BFA"] == [1, 2, 2]
    with pytest.raises(UserError, match="scene 99 does not exist; choose 0 to 7"):
        exported.reset(99)


@pytest.mark.slow
def test_a_world_that_is_told_how_long_its_steps_are_is_exported_too(toy_reel, tmp_path):
    session = session_over(toy_reel, tmp_path, dynamics__step_embedding=True)
    graphs = trace(session)
    exported = ExportedSession(graphs.about, graphs.scenes, graphs.start.module(), graphs.step.module())
    assert np.abs(drive(session) - drive(exported)).max() <= 1


@pytest.mark.slow
def test_a_world_without_context_noise_or_earlier_commands_is_exported_too(toy_reel, tmp_path):
    session = session_over(toy_reel, tmp_path, flow__context_noise=0.0, dynamics__action_window=1)
    graphs = trace(session)
    assert graphs.about["start"]["noise"] == [] and len(graphs.about["step"]["noise"]) == 1
    exported = ExportedSession(graphs.about, graphs.scenes, graphs.start.module(), graphs.step.module())
    assert np.abs(drive(session) - drive(exported)).max() <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "step.json: cannot be read .* give a folder that `roadcast export` wrote"),
        ("{", "step.json: cannot be read"),
        ('{"schema": 99}', "schema = 99, this version reads 1; export the world again"),
        ("[]", "schema = None"),
    ],
)
def test_what_is_no_exported_world_is_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "step.json").write_text(text)
    with pytest.raises(UserError, match=message):
        ExportedSession.open(tmp_path)


def test_a_package_that_cannot_be_loaded_names_the_torch_it_was_made_by(pair, tmp_path):
    _, exported = pair
    (tmp_path / "step.json").write_text(json.dumps(exported._about | {"torch": "2.0.1"}))
    save_tensors(tmp_path / "scenes.safetensors", exported._clips)
    (tmp_path / "start.pt2").write_bytes(b"no package")
    with pytest.raises(UserError, match=r"start.pt2: cannot be loaded .* made by torch 2.0.1 for cpu"):
        ExportedSession.open(tmp_path)


# In a fresh interpreter: drives the exported world in its first argument, saves the frames to the second, and tells what it imported.
LOADER = """
import sys
from pathlib import Path
import numpy as np
from roadcast.serving.exported import ExportedSession

session = ExportedSession.open(Path(sys.argv[1]))
frames = [session.reset(2, seed=5)] + [session.step(command) for command in {commands}]
np.save(sys.argv[2], np.stack(frames))
print(*sorted({{".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("roadcast.")}}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_machine_code_drives_the_world_without_the_models_own(toy_reel, tmp_path):
    session = session_over(toy_reel, tmp_path)
    (out := tmp_path / "exported").mkdir()
    export(session, out)
    assert sorted(file.name for file in out.iterdir()) == ["scenes.safetensors", "start.pt2", "step.json", "step.pt2"]
    code = [sys.executable, "-c", LOADER.format(commands=COMMANDS), str(out), str(tmp_path / "frames.npy")]
    done = subprocess.run(code, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["roadcast.errors", "roadcast.files", "roadcast.safetensors", "roadcast.serving"]
    shown, theirs = session.reset(2, seed=5), np.load(tmp_path / "frames.npy").astype(int)
    assert np.abs(theirs - [shown.astype(int), *drive(session)]).max() <= 1
