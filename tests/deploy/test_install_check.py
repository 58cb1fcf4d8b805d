"""The nearest check of an image without Docker does what the Dockerfile says, in a folder of its own."""

import sys
import tomllib

import pytest
from dockerfile import parse
from install_check import Copied, Scratch, Step, final_command, main, plan

SMALL = """
FROM python:3.11.14 AS base
ENV PATH=/opt/roadcast/bin:$PATH WORD=hello
FROM base AS first
WORKDIR /src
COPY LICENSE ./
ARG INDEX=there
RUN apt-get update && pip install --index-url ${INDEX} x
FROM first AS second
COPY --from=base /a /b
ENTRYPOINT ["roadcast"]
CMD ["serve", "w"]
"""


def test_plan_follows_stages_environment_and_arguments():
    stages = parse(SMALL)
    steps = list(plan(stages, "second", {"INDEX": "here"}, "/bin"))
    copied, apt, pip = steps
    assert copied == Copied("first", ("LICENSE",), "./")
    assert (apt.command, apt.runs) == ("apt-get update", False)
    assert (pip.command, pip.runs) == ("pip install --index-url ${INDEX} x", True)
    assert pip.environment == {"PATH": "/opt/roadcast/bin:/bin", "WORD": "hello", "INDEX": "here"}
    assert final_command(stages, "second") == ["roadcast", "serve", "w"]


def test_step_runs_in_the_scratch_folder_with_the_image_s_folders_moved(tmp_path):
    scratch = Scratch(tmp_path, parse(SMALL))
    scratch.copy(Copied("first", ("LICENSE",), "./"))
    environment = {"PATH": "/usr/bin:/bin", "WORD": "hello", "MINE": "/opt/roadcast/bin"}
    scratch.run(
        Step("second", 'mkdir /wheels && echo "$WORD $MINE" > /wheels/said && ls > /src/seen', environment, True)
    )
    assert (tmp_path / "wheels/said").read_text() == f"hello {tmp_path}/opt/roadcast/bin\n"
    assert (tmp_path / "src/second/seen").read_text() == "LICENSE\nseen\n"


def test_step_that_fails_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"second: `false \| true` ended with exit code 1"):
        Scratch(tmp_path, parse(SMALL)).run(Step("second", "false | true", {"PATH": "/usr/bin:/bin"}, True))


def test_addresses_and_the_machine_s_own_folders_are_not_moved(tmp_path):
    scratch = Scratch(tmp_path, parse(SMALL))
    for text in ("https://host.org/whl/cpu", "/usr/src", "/srcs", "./wheels", "/tmp/opt/roadcast"):
        assert scratch.moved(text, "first") == text


@pytest.mark.parametrize("target", ["serve-cpu", "serve-gpu", "train", "dev"])
def test_files_that_a_build_of_the_package_reads_are_there(stages, target, tmp_path):
    scratch = Scratch(tmp_path, stages)
    steps = list(plan(stages, target, {}, "/bin"))
    for one in steps:
        if isinstance(one, Copied):
            scratch.copy(one)
    builders = [
        one.stage for one in steps if isinstance(one, Step) and (one.command.endswith(" .") or " -e " in one.command)
    ]
    assert len(builders) == 1
    source = scratch.source(builders[0])
    project = tomllib.loads((source / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    named = [
        project["project"]["readme"],
        *project["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    ]
    assert all((source / name).exists() for name in named)
    for one in steps:
        if isinstance(one, Step) and "-c constraints.txt" in one.command:
            assert (scratch.source(one.stage) / "constraints.txt").exists(), one.command


def test_dry_run_tells_every_step_and_runs_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["install_check.py", "serve-cpu", "--dry-run"])
    monkeypatch.setattr(Scratch, "run", lambda *_: pytest.fail("a step was run"))
    main()
    told = capsys.readouterr().out
    assert (
        told.index("RUN    python -m venv /opt/roadcast")
        < told.index("install --no-deps")
        < told.index("roadcast[serve")
    )
    assert "omit   apt-get update" in told and "installed" not in told


@pytest.mark.parametrize(
    ("given", "says"),
    [(["boat"], "boat: no such target; choose one of"), (["dev", "--argument", "X=1"], "no such ARG")],
)
def test_what_cannot_be_checked_is_refused(monkeypatch, given, says):
    monkeypatch.setattr(sys, "argv", ["install_check.py", *given])
    with pytest.raises(SystemExit, match=says):
        main()
