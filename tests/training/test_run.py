import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roadcast.config import load_config, override
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.safetensors import load_tensors
from roadcast.training.metrics import read_log
from roadcast.training.run import train
from roadcast.training.scenes import load_scenes
from worlds import micro_config


def config_for(reel, *changes):
    return override(micro_config(), [f"data.reel={reel}", *changes])


def silent(*_):
    pass


def same_weights(a, b) -> bool:
    ours, theirs = (load_tensors(folder / "weights.safetensors") for folder in (a, b))
    return all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from roadcast.config import load_config
from roadcast.training.run import train
train(load_config(Path(sys.argv[1])), Path(sys.argv[2]), report=lambda name, done, *_: print(name, done, flush=True))
"""


def test_resume_after_sigkill_is_bit_identical(toy_reel, tmp_path):
    """A run killed three times, in both stages, ends with the weights and the log of a run that never stopped."""
    config = config_for(
        toy_reel, "train.tokenizer.steps=6", "train.tokenizer.curriculum=[[0, 2], [4, 3]]",
        "train.tokenizer.augment={flip = 0.5, noise = 0.5}", "train.dynamics.steps=6", "train.dynamics.accumulate=2",
    )  # fmt: skip
    config.save(tmp_path / "recipe.json")
    train(config, tmp_path / "whole", report=silent)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.json"), str(tmp_path / "cut")]
    for last_words in ("tokenizer 3", "tokenizer 5", "dynamics 5"):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        for line in process.stdout:
            if line.strip() == last_words:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL, f"the run ended before {last_words!r}"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert same_weights(tmp_path / "whole" / "world", tmp_path / "cut" / "world")
    for stage in ("tokenizer", "dynamics"):
        whole, cut = (read_log(tmp_path / run / stage / "log.jsonl") for run in ("whole", "cut"))
        assert [row["step"] for row in whole] == [row["step"] for row in cut]
        assert [row.get("loss") for row in whole] == [row.get("loss") for row in cut]


class CutError(Exception):
    """Ends a run in the middle of a step."""


@pytest.mark.parametrize(
    "settings",
    [
        ["train.dynamics.optimizer=muon", "train.dynamics.schedule=wsd"],
        ["compute.offload=true", "compute.save_async=yes"],
        ["train.dynamics.losses={acceleration = 0.1}", "train.tokenizer.losses={spectrum = 0.1}"],
        ["compute.precision=float16", "train.dynamics.remat=selective"],
        [
            "train.dynamics.objective=self_context",
            "train.dynamics.evaluate_every=1",
            "train.dynamics.save_every=1",
            "train.dynamics.options={schedule = 'drift', rise = 0.5, tolerance = 9, share_to = 1.0, context = 2, stored = 9}",
        ],
        [
            "train.dynamics.objective=self_forcing",
            "guard.anomaly=off",
            "compute.offload=true",
            "train.dynamics.options={context = 2, window = 1, steps = 2, identity = 0.1, adversarial = 0.1}",
        ],
    ],
    ids=lambda settings: settings[0].rpartition(".")[2],
)
def test_whatever_is_set_a_run_that_was_cut_ends_with_the_same_weights(toy_reel, tmp_path, settings):
    """And the setting does something: the weights are not those of a run without it, but for the moments, which are only elsewhere."""

    def cut(stage, done, *_):
        if (stage, done) == ("dynamics", 3):
            raise CutError

    config = config_for(toy_reel, "train.tokenizer.steps=2", "train.dynamics.clip_frames=4", *settings)
    whole = train(config, tmp_path / "whole", report=silent, tell=silent)
    with pytest.raises(CutError):
        train(config, tmp_path / "cut", report=cut, tell=silent)
    assert same_weights(whole, train(config, tmp_path / "cut", report=silent, tell=silent))
    plain = config_for(toy_reel, "train.tokenizer.steps=2", "train.dynamics.clip_frames=4")
    alike = same_weights(whole, train(plain, tmp_path / "plain", report=silent, tell=silent))
    assert alike == (settings[0] == "compute.offload=true")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_block_by_block_a_run_learns_the_same(toy_reel, tmp_path):
    runs = [
        train(config_for(toy_reel, f"compute.compile={way}"), tmp_path / way, report=silent)
        for way in ("true", "false")
    ]
    ours, theirs = (load_tensors(run / "weights.safetensors") for run in runs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_a_finished_run_is_left_as_it_is_and_other_settings_are_refused(toy_reel, tmp_path):
    config = config_for(toy_reel)
    world = train(config, tmp_path, report=silent)
    stamp = (tmp_path / "dynamics" / "world" / "weights.safetensors").stat().st_mtime_ns
    seen = []
    train(config, tmp_path, report=lambda *a: seen.append(a))
    assert not seen and (tmp_path / "dynamics" / "world" / "weights.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="another configuration"):
        train(override(config, ["seed=9"]), tmp_path, report=silent)
    scenes = load_scenes(world)
    assert scenes.frames_BFHWC.shape[1:] == (5, 32, 64, 3) and len(scenes.names) == len(scenes.frames_BFHWC)
    stats = World.load(world).tokenizer
    assert not torch.equal(stats.std, torch.ones_like(stats.std))


def test_a_reel_of_another_size_is_refused_with_the_remedy(toy_reel, tmp_path):
    with pytest.raises(UserError, match=r"height 32 and the recipe data.height = 64.*--height 64"):
        train(config_for(toy_reel, "data.height=64"), tmp_path / "run", report=silent)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", ["diffusion_forcing", "teacher_forcing"])
@pytest.mark.parametrize(("prediction", "time_stride"), [("x", 1), ("v", 2)])
def test_learning_lowers_the_held_out_loss(toy_reel, tmp_path, objective, prediction, time_stride):
    config = config_for(
        toy_reel, f"flow.prediction={prediction}", f"tokenizer.time_stride={time_stride}", "train.tokenizer.steps=10",
        "train.dynamics.steps=40", "train.dynamics.evaluate_every=5", "train.dynamics.lr=0.003", "train.dynamics.ema=0.8",
        f"train.dynamics.objective={objective}", "train.dynamics.batch=4",
    )  # fmt: skip
    train(config, tmp_path, report=silent)
    held_out = [row["val_x"] for row in read_log(tmp_path / "dynamics" / "log.jsonl") if "val_x" in row]
    assert len(held_out) == 8 and held_out[-1] < 0.97 * held_out[0]


def test_an_unknown_option_names_the_known_ones(toy_reel, tmp_path):
    with pytest.raises(UserError, match="has no option 'pixle'; it has pixel, structure, multiscale"):
        train(config_for(toy_reel, "train.tokenizer.options.pixle=1.0"), tmp_path, report=silent)


def test_a_wrong_option_of_the_last_stage_is_told_before_the_first_is_trained(toy_reel, tmp_path):
    with pytest.raises(UserError, match=r"option ramp = 'steep' of objective 'diffusion_forcing' is no number"):
        train(config_for(toy_reel, "train.dynamics.options.ramp=steep"), tmp_path / "run", report=silent)
    assert not (tmp_path / "run").exists()


def test_a_mixture_of_reels_is_learnt_from_by_weight(toy_reel, tmp_path):
    from roadcast.data.ingest import ingest

    other = tmp_path / "other"
    ingest("toyroad:recordings=2,frames=60,seed=9,height=32,width=64", other, height=32, width=64, split="train")
    mixed = override(micro_config(), [f"data.mixture={{'{toy_reel}' = 1, '{other}' = 3}}"])
    world = train(mixed, tmp_path / "run", report=silent)
    assert (tmp_path / "run" / "latents" / "latents.json").exists()
    assert (tmp_path / "run" / "latents-1" / "latents.json").exists()
    alone = train(config_for(toy_reel), tmp_path / "alone", report=silent)
    assert not same_weights(world, alone)


def test_an_augmented_stage_learns_from_pixels(toy_reel, tmp_path):
    config = config_for(toy_reel, "train.dynamics.augment={flip = 1.0}")
    world = train(config, tmp_path / "run", report=silent)
    assert not (tmp_path / "run" / "latents").exists() and World.load(world)
    with pytest.raises(UserError, match=r"flap.*flip"):
        train(config_for(toy_reel, "train.tokenizer.augment={flap = 1.0}"), tmp_path / "wrong", report=silent)


def test_reel_and_mixture_together_are_refused(toy_reel):
    with pytest.raises(UserError, match="both given"):
        override(micro_config(), [f"data.mixture={{'{toy_reel}' = 1}}", f"data.reel={toy_reel}"])


def test_a_run_of_the_first_schema_goes_on_from_the_middle_as_it_did_then(tmp_path, monkeypatch):
    """tests/golden/run_v1: two of four steps of the dynamics done; the losses of the other two are in its log."""
    from roadcast.data.ingest import ingest

    golden = Path(__file__).parents[1] / "golden" / "run_v1"
    shutil.copytree(golden, tmp_path / "run")
    (tmp_path / "run" / "expected.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    ingest("toyroad:recordings=3,frames=40,seed=1,height=32,width=64", tmp_path / "reel", height=32, width=64)
    train(load_config(tmp_path / "run" / "config.json"), tmp_path / "run", report=silent)
    then, now = (read_log(run / "dynamics" / "log.jsonl") for run in (golden, tmp_path / "run"))
    assert [row["step"] for row in now] == [row["step"] for row in then]
    for key in ("loss", "val_loss"):
        assert [row[key] for row in now if key in row] == pytest.approx(
            [row[key] for row in then if key in row], rel=1e-3
        )
    made, expected = (
        load_tensors(tmp_path / "run/dynamics/world/weights.safetensors"),
        load_tensors(golden / "expected.safetensors"),
    )
    for name, value in expected.items():
        torch.testing.assert_close(made[name], value, rtol=1e-2, atol=1e-4)
