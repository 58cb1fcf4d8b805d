"""Help, exit codes, and the one line for everything a user can get wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from roadcast.cli import main
from roadcast.cli.main import COMMANDS, run
from roadcast.errors import UserError


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run([command, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"  roadcast {command}" in text.partition("Examples:")[2]


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "import sys; from roadcast.cli.main import run; run(['--help']);"
    code += "print(sorted({'torch', 'cv2', 'numpy', 'tyro'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help_of_a_command_imports_no_torch(command):
    code = f"import sys\nfrom roadcast.cli.main import run\ntry: run(['{command}', '--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_usage_errors_exit_with_two(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["train", "--no-such-option"])
    assert stopped.value.code == 2


def test_unknown_command_is_guessed(refused):
    assert "did you mean train?" in refused(["traim"])


def test_unknown_key_names_its_neighbour(refused, reel, tmp_path):
    line = refused(["train", "--reel", reel, "--out", tmp_path / "run", "--set", "dynamics.depht=2"])
    assert "unknown key dynamics.depht" in line
    assert "did you mean dynamics.depth?" in line
    (tmp_path / "bad.toml").write_text('preset = "tiny"\n[data]\nhieght = 64\n')
    assert "did you mean data.height" in refused(
        ["train", tmp_path / "bad.toml", "--reel", reel, "--out", tmp_path / "run"]
    )


def test_unknown_preset_lists_those_there_are(refused, reel, tmp_path):
    for command in (
        ["train", "--reel", reel, "--out", tmp_path / "r", "--preset", "huge"],
        ["ingest", reel, tmp_path / "r", "--preset", "huge"],
    ):
        assert "preset 'huge' is unknown; choose one of tiny, small, base, large" in refused(command)


def test_recipe_and_preset_together_are_refused(refused, reel, tmp_path):
    (tmp_path / "a.toml").write_text('preset = "tiny"\n')
    assert "not both" in refused(
        ["train", tmp_path / "a.toml", "--preset", "tiny", "--reel", reel, "--out", tmp_path / "r"]
    )


def test_training_without_a_reel_says_how_to_name_one(refused, tmp_path):
    assert "--reel" in refused(["train", "--out", tmp_path / "run"])


def test_unknown_device_is_refused(refused, reel, tmp_path):
    assert "--device abacus" in refused(["train", "--reel", reel, "--out", tmp_path / "run", "--device", "abacus"])


def test_sources_that_hold_nothing_are_named(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("this is no video\n")
    for name in ("empty", "text.mp4", "missing"):
        assert str(tmp_path / name) in refused(["ingest", tmp_path / name, tmp_path / "reel"])
    assert not (tmp_path / "reel").exists()


def test_reel_of_another_size_says_how_to_match(refused, reel, tmp_path, trained, micro):
    line = refused(["train", "--reel", reel, "--out", tmp_path / "run", "--preset", "tiny"])
    assert "height 32" in line
    assert "--height 64" in line
    larger = tmp_path / "larger"
    assert (
        run(
            [
                "ingest",
                "toyroad:recordings=3,frames=12,height=48,width=64",
                str(larger),
                "--height",
                "48",
                "--width",
                "64",
                "--min-seconds",
                "0",
            ]
        )
        == 0
    )
    assert "48x64" in refused(
        ["evaluate", trained, "--reel", larger, "--out", tmp_path / "e", "--context", "4", "--horizon", "4"]
    )


def test_a_folder_that_is_no_world_is_told_from_one_that_is_missing(refused, reel, tmp_path):
    for command in (["generate"], ["drive", "--no-browser"], ["evaluate", "--reel", reel, "--out", tmp_path / "e"]):
        last = [tmp_path / "a.mp4"] if command == ["generate"] else []
        assert "no such folder" in refused([command[0], tmp_path / "none", *last, *command[1:]])
        assert "is a reel, not a world" in refused([command[0], reel, *last, *command[1:]])


def test_unfinished_run_says_how_to_go_on(refused, trained, tmp_path):
    shutil.copy(trained / "config.json", tmp_path)
    assert "give the same `roadcast train` command again" in refused(["generate", tmp_path, tmp_path / "a.mp4"])


def test_world_of_other_shapes_names_the_tensor(refused, trained, tmp_path):
    world = tmp_path / "world"
    shutil.copytree(trained / "world", world)
    config = json.loads((world / "config.json").read_text())
    config["dynamics"]["width"] = 48
    (world / "config.json").write_text(json.dumps(config))
    line = refused(["generate", world, tmp_path / "a.mp4"])
    assert "tensor " in line
    assert "config.json" in line


def test_driving_takes_a_world_or_the_mock(refused, trained):
    assert "not both" in refused(["drive", trained, "--mock"])


def test_info_of_something_else_lists_what_it_knows(refused, tmp_path):
    assert "is no reel, run or world" in refused(["info", tmp_path])
    assert "tiny, small, base, large" in refused(["info", "enormous"])


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_debug_shows_the_traceback(how, monkeypatch, capsys):
    monkeypatch.setenv("ROADCAST_DEBUG", "1" if how == "environment" else "0")
    assert run(["info", "enormous", *(["--debug"] if how == "flag" else [])]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "resumes"), [("train", True), ("info", False)])
def test_interrupted_commands_say_whether_they_resume(command, resumes, monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "dispatch", interrupt)
    assert run([command]) == 130
    assert ("the same command again" in capsys.readouterr().err) == resumes


def test_full_disk_is_one_line_and_a_fault(monkeypatch, capsys):
    def fill(arguments):
        raise OSError(28, os.strerror(28), "runs/x")

    monkeypatch.setattr(main, "dispatch", fill)
    assert run(["train"]) == 1
    assert capsys.readouterr().err == "roadcast: runs/x: No space left on device\n"


def test_messages_of_several_lines_are_told_in_one(monkeypatch, capsys):
    def fail(arguments):
        raise UserError("first\n  second")

    monkeypatch.setattr(main, "dispatch", fail)
    assert run(["train"]) == 2
    assert capsys.readouterr().err == "roadcast: first second\n"
