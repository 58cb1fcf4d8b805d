"""`roadcast models`."""

import pytest

from bad_models import sealed
from roadcast.cli.main import MODELS_COMMANDS, run
from roadcast.serving import examine
from roadcast.serving.gate import Gate, Report
from roadcast.serving.registry import Registry


@pytest.fixture
def registry(tmp_path):
    """A registry with two versions of toyroad, the second in production."""
    opened, version = Registry.open(str(tmp_path / "registry")), sealed(tmp_path / "version")
    for number in (1, 2):
        opened.push("mine", version)
        opened.promote("mine", number, "production")
    return str(tmp_path / "registry")


@pytest.fixture
def verdict(monkeypatch):
    """What the gate says, without a process."""
    said = {"passed": True}

    def examined(self, registry, model, version):
        return Report([examine.Check("steering", said["passed"], "left and right are 0 apart", 0.1)])

    monkeypatch.setattr(Gate, "examine", examined)
    return said


@pytest.mark.parametrize("command", MODELS_COMMANDS)
def test_help_of_every_command_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["models", command, "--help"])
    assert stopped.value.code == 0
    assert f"  roadcast models {command}" in capsys.readouterr().out.partition("Examples:")[2]


def test_a_world_is_pushed_listed_and_promoted(trained, tmp_path, capsys, verdict):
    place = ["--registry", str(tmp_path / "registry")]
    assert run(["models", "push", str(trained), "--name", "mine", *place]) == 0
    assert run(["models", "promote", "mine/1", "--why", "first", *place]) == 0
    assert "mine@production is mine/1" in capsys.readouterr().out
    assert run(["models", "list", *place]) == 0
    out = capsys.readouterr().out
    assert "mine/1" in out and "production" in out
    assert run(["models", "list", "mine", "--log", *place]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["push", "pass", "alias"]
    files = {path.name for path in Registry.open(place[1]).fetch("mine", 1).iterdir()}
    assert files == {"config.json", "weights.safetensors", "scenes.npz", "golden.safetensors", "MANIFEST.json"}


def test_a_version_that_the_gate_refuses_is_not_promoted(registry, refused, verdict):
    verdict["passed"] = False
    line = refused(["models", "promote", "mine/1", "--registry", registry])
    assert "mine/1 is refused: steering: left and right are 0 apart" in line
    assert Registry.open(registry).aliases("mine") == {"production": 2}
    assert "is refused" in refused(["models", "verify", "mine@production", "--registry", registry])


def test_a_rollback_goes_to_the_version_before_and_no_further_than_there_is(registry, refused, capsys):
    assert "give the alias" in refused(["models", "rollback", "mine/2", "--why", "drifts", "--registry", registry])
    back = ["models", "rollback", "mine@production", "--why", "drifts", "--registry", registry]
    assert run(back) == 0
    assert capsys.readouterr().out.splitlines() == ["mine@production is mine/1", "mine/2 is quarantined"]
    assert "no good version before mine/1" in refused(back)
    assert "mine/2 is quarantined (drifts)" in refused(["models", "promote", "mine/2", "--registry", registry]), (
        "and the gate is not even asked"
    )


def test_an_empty_registry_says_how_to_begin(tmp_path, capsys, refused):
    place = ["--registry", str(tmp_path / "none")]
    assert run(["models", "list", *place]) == 0
    assert "roadcast models push" in capsys.readouterr().out
    assert "none yet; push one" in refused(["models", "list", "mine", *place])
