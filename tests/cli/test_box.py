"""The world in the box: what lies in the package is small, whole, told of, and drives."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from roadcast.cli import drive, folders
from roadcast.cli.folders import IN_THE_BOX, named, world_folder
from roadcast.cli.main import run
from roadcast.evaluation.metrics.drift import collapse
from roadcast.files import sha256
from roadcast.serving.session import ModelSession
from roadcast.training.scenes import load_scenes

REPO = Path(__file__).parents[2]
MOST_BYTES = 16_000_000


def test_it_is_small_and_its_card_knows_every_file():
    files = {path.name: path for path in IN_THE_BOX.iterdir()}
    assert set(files) == {"CARD.md", "config.json", "scenes.npz", "weights.safetensors"}
    assert sum(path.stat().st_size for path in files.values()) <= MOST_BYTES
    card = files.pop("CARD.md").read_text()
    assert {name: re.search(rf"\| {re.escape(name)} \| \d+ \| (\w+) \|", card)[1] for name in files} == {
        name: sha256(path) for name, path in files.items()
    }
    assert "Licence: Apache-2.0" in card and "`toyroad:" in card


def test_its_scenes_are_called_what_they_show():
    names = load_scenes(IN_THE_BOX).names
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[A-Z][a-z]+(,? [a-z]+)*", name) for name in names)


def test_it_is_packed_with_the_code():
    wheel = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert any(IN_THE_BOX.is_relative_to(REPO / package) for package in wheel["packages"])
    ignored = subprocess.run(
        ["git", "-C", REPO, "check-ignore", "--no-index", *IN_THE_BOX.iterdir()], capture_output=True
    )
    assert ignored.stdout == b""  # hatch leaves out what git ignores


def test_its_configuration_has_nothing_of_the_machine_that_made_it():
    text = (IN_THE_BOX / "config.json").read_text()
    assert not re.findall(r'"(?:/|[A-Za-z]:)[^"]*"', text)
    config = json.loads(text)
    assert (config["flow"]["steps"], config["data"]["height"], config["data"]["width"]) == (1, 64, 128)


def test_it_drives_and_does_not_collapse():
    session = ModelSession.open(IN_THE_BOX, precision="float32")
    command = {"steer": 0.2, "throttle": 0.5}
    for scene in range(2):
        shown = session.reset(scene, seed=0)
        real = session.context.frames_BFHWC[scene, -8:].numpy()
        made = np.stack([session.step(command) for _ in range(8)])
        assert made.shape == real.shape and (made[0] != shown).any()
        assert not any(collapse(made, real).values())


def test_it_steers_left_and_right():
    session = ModelSession.open(IN_THE_BOX, precision="float32")
    ends = []
    for steer in (-0.5, 0.5):
        session.reset(0, seed=0)
        ends.append([session.step({"steer": steer, "throttle": 0.5}) for _ in range(12)][-1].astype(int))
    assert np.abs(ends[0] - ends[1]).mean() > 2


@pytest.fixture
def box(trained, tmp_path, monkeypatch) -> Path:
    """Another world in the box's place."""
    box = tmp_path / "package" / "toyroad"
    shutil.copytree(trained / "world", box)
    for module in (folders, drive):
        monkeypatch.setattr(module, "IN_THE_BOX", box)
    return box


def test_it_is_what_one_drives_without_a_choice(box, monkeypatch):
    web = pytest.importorskip("roadcast.web.app", reason="the page needs roadcast[serve]")
    served = {}
    monkeypatch.setattr(
        web, "serve", lambda factory, host, port, title, fps: served.update(title=title, session=factory())
    )
    assert run(["drive", "--no-browser"]) == 0
    assert served["title"] == "toyroad" and served["session"].step({"steer": 0.1}).shape == (32, 64, 3)


def test_its_name_stands_for_it_unless_a_folder_has_that_name(box, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert world_folder(Path("toyroad")) == box
    assert run(["info", "toyroad"]) == 0
    assert f"{box}: a world" in capsys.readouterr().out
    Path("toyroad").mkdir()
    assert named(Path("toyroad")) == Path("toyroad")


def test_an_installation_without_it_tells_the_remedy(box, refused):
    (box / "weights.safetensors").unlink()
    for command in (["drive", "--no-browser"], ["generate", "toyroad", "a.mp4"]):
        assert "install roadcast again" in refused(command)
