"""The command line called in this process, on a reel and a world so small that they are made in seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roadcast.cli.main import run

MICRO = (
    "tokenizer.widths=[8,16,16] tokenizer.decoder_blocks=1 dynamics.width=32 dynamics.depth=2 dynamics.heads=2 "
    "dynamics.kv_heads=1 dynamics.time_every=2 dynamics.context_frames=4 data.height=32 data.width=64 "
    "train.tokenizer.log_every=1 train.dynamics.log_every=1 train.tokenizer.steps=2 train.tokenizer.batch=2 train.tokenizer.clip_frames=2 "
    "train.dynamics.steps=2 train.dynamics.batch=2 train.dynamics.clip_frames=6"
).split()
SOURCE = "toyroad:recordings=3,frames=30,weather=clear,height=32,width=64"


@pytest.fixture(scope="session")
def micro() -> list[str]:
    """Settings for --set that make every network and stage tiny's smallest relative."""
    return MICRO


@pytest.fixture(scope="session")
def reel(tmp_path_factory) -> Path:
    """A reel of three drives of the toy world, 32x64."""
    path = tmp_path_factory.mktemp("cli") / "reel"
    assert run(["ingest", SOURCE, str(path), "--height", "32", "--width", "64", "--min-seconds", "0"]) == 0
    return path


@pytest.fixture(scope="session")
def trained(reel) -> Path:
    """The folder of a run of two steps a stage."""
    path = reel.parent / "run"
    assert run(["train", "--reel", str(reel), "--out", str(path), "--set", *MICRO]) == 0
    return path


@pytest.fixture
def refused(capsys) -> Callable[[list[str]], str]:
    """Runs a command that must exit with 2 and one line on stderr, without a traceback; the line without its prefix."""

    def call(arguments: list[str]) -> str:
        capsys.readouterr()
        assert run(list(map(str, arguments))) == 2
        error = capsys.readouterr().err
        assert error.startswith("roadcast: ")
        assert error.count("\n") == 1
        assert "Traceback" not in error
        return error.removeprefix("roadcast: ")

    return call
