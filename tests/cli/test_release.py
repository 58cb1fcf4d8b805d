"""`roadcast release`."""

import json
import shutil

import torch

from roadcast.cli.main import run
from roadcast.config import load_config
from roadcast.files import sha256
from roadcast.flow.world import World
from roadcast.safetensors import load_tensors


def test_a_released_world_is_half_as_large_and_drives_alike(trained, tmp_path):
    out = tmp_path / "mine"
    assert run(["release", str(trained), "--out", str(out), "--steps", "1"]) == 0
    whole, half = trained / "world" / "weights.safetensors", out / "weights.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    released = World.load(out)
    assert released.config.flow.steps == 1
    for name, exact in load_tensors(whole).items():
        torch.testing.assert_close(released.state_dict()[name], exact, rtol=2**-11, atol=2**-25)


def test_nothing_of_the_machine_is_given_away(trained, reel, tmp_path):
    out = tmp_path / "mine"
    assert run(["release", str(trained), "--out", str(out)]) == 0
    assert str(reel.parent) in (trained / "config.json").read_text() + (trained / "record.json").read_text()
    assert str(reel.parent) not in (out / "config.json").read_text() + (out / "CARD.md").read_text()


def test_the_card_tells_what_made_the_world(trained, tmp_path):
    (further := tmp_path / "further").mkdir()
    shutil.copytree(trained / "world", further / "world")
    config = json.loads((trained / "config.json").read_text())
    config["start"], config["train"] = (
        str(trained / "world"),
        {"more": config["train"]["dynamics"] | {"steps": 12345, "from_start": True}},
    )
    (further / "config.json").write_text(json.dumps(config))
    record = json.loads((trained / "record.json").read_text())
    record["command"] = [
        "/opt/bin/roadcast",
        "distil",
        "/data/runs/mine",
        "--set",
        "start=/data/runs/mine/world",
        "seed=7",
    ]
    (further / "record.json").write_text(json.dumps(record))
    (further / "ladder.md").write_text("| passes | score |\n| --- | --- |\n| 1 | 98.76 |\n")

    out = tmp_path / "released"
    assert run(["release", str(further), "--out", str(out)]) == 0
    card = (out / "CARD.md").read_text()
    assert card.startswith("# released\n")
    assert "roadcast distil mine --set start=world seed=7" in card
    assert "`toyroad:recordings=3,frames=30," in card and record["reels"][0]["fingerprint"] in card
    assert "Licence: Apache-2.0" in card
    assert "| 1 | 98.76 |" in card and "| 12345 |" in card
    assert list(load_config(out / "config.json").train) == ["tokenizer", "dynamics", "more"]
    for name in ("config.json", "scenes.npz", "weights.safetensors"):
        assert sha256(out / name) in card


def test_a_licence_is_not_promised_for_the_recordings_of_others(trained, tmp_path):
    (copied := tmp_path / "run").mkdir()
    shutil.copytree(trained / "world", copied / "world")
    shutil.copy(trained / "config.json", copied)
    record = json.loads((trained / "record.json").read_text())
    record["reels"] = [{"path": str(tmp_path / "gone"), "fingerprint": "0123"}]
    (copied / "record.json").write_text(json.dumps(record))
    assert run(["release", str(copied), "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert "Licence: not said" in card and "Apache" not in card


def test_what_cannot_be_released_is_named(refused, trained, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    assert "not an empty folder" in refused(["release", trained, "--out", tmp_path / "full"])
    assert "--steps 0: give at least 1" in refused(["release", trained, "--out", tmp_path / "out", "--steps", "0"])
    shutil.copytree(trained / "world", tmp_path / "alone")
    assert "give the run's folder" in refused(["release", tmp_path / "alone", "--out", tmp_path / "out"])
    shutil.copytree(trained / "world", tmp_path / "unrecorded" / "world")
    shutil.copy(trained / "config.json", tmp_path / "unrecorded")
    assert "has no record.json" in refused(["release", tmp_path / "unrecorded", "--out", tmp_path / "out"])
    assert not (tmp_path / "out").exists()
