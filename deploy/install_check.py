"""Runs what the Dockerfile installs, without Docker: the pip steps of one target, in order, in clean virtual environments.

    python deploy/install_check.py serve-cpu
    python deploy/install_check.py serve-cpu --dry-run
    python deploy/install_check.py serve-cpu --argument TORCH_CPU_INDEX=ADDRESS      as docker's --build-arg

What a COPY names is copied and nothing else is there, so a file that the build needs and the Dockerfile forgets is missing here too. Each
`pip ...` and `python -m venv ...` of the stages runs as it is written, the folders /opt/roadcast, /wheels and /src moved into a scratch
folder; what else a RUN does (apt-get, useradd) is told and left out. In the end `pip check` and the image's own command with --help must
succeed. It needs network and, with torch, minutes and gigabytes; the Python is the one that runs this script, not the base image's.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from dockerfile import DOCKERFILE, Instruction, Stage, chain, needed, parse

ROOT = Path(__file__).resolve().parents[1]
INSTALLS = ("pip ", "python -m venv ")
MOVED = re.compile(r"(?<![\w./])/(opt/roadcast|wheels|src)\b")


@dataclass(frozen=True)
class Step:
    """One shell command of a stage, its environment beyond the machine's, and whether it is run or only told."""

    stage: str
    command: str
    environment: dict[str, str]
    runs: bool


@dataclass(frozen=True)
class Copied:
    """Files of the repository that a stage has in /src."""

    stage: str
    sources: tuple[str, ...]
    target: str


def plan(stages: dict[str, Stage], target: str, arguments: dict[str, str], path: str) -> Iterator[Step | Copied]:
    """What building `target` does, stage by stage; `path` is the PATH of the base image."""
    environments: dict[str, dict[str, str]] = {}
    for stage in needed(stages, target):
        environment = dict(environments.get(stage.base, {"PATH": path}))
        for instruction in stage.instructions:
            if instruction.word == "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", instruction.text):
                    environment[name] = Template(value).safe_substitute(environment)
            elif instruction.word == "ARG":
                name, _, value = instruction.text.partition("=")
                environment[name] = arguments.get(name, value)
            elif instruction.word == "COPY" and instruction.option("from") is None:
                *sources, where = instruction.words
                yield Copied(stage.name, tuple(sources), where)
            elif instruction.word == "RUN":
                for command in instruction.text.split(" && "):
                    yield Step(stage.name, command.strip(), dict(environment), command.strip().startswith(INSTALLS))
        environments[stage.name] = environment


def final_command(stages: dict[str, Stage], target: str) -> list[str]:
    """What an image of `target` runs: its last ENTRYPOINT and CMD."""
    last: dict[str, Instruction] = {one.word: one for stage in chain(stages, target) for one in stage.instructions}
    return [word for name in ("ENTRYPOINT", "CMD") if name in last for word in last[name].words]


class Scratch:
    """The folder that stands for the image: /opt/roadcast and /wheels once, /src once for each stage."""

    def __init__(self, folder: Path, stages: dict[str, Stage]):
        self.folder, self.stages = folder, stages

    def source(self, stage: str) -> Path:
        """The stage's /src, which begins as its base's."""
        mine, base = self.folder / "src" / stage, self.stages[stage].base
        if not mine.exists():
            mine.mkdir(parents=True)
            if base in self.stages:
                shutil.copytree(self.source(base), mine, dirs_exist_ok=True)
        return mine

    def moved(self, text: str, stage: str) -> str:
        """`text` with the image's folders replaced by the scratch folder's."""
        return MOVED.sub(lambda found: str(self.source(stage) if found[1] == "src" else self.folder / found[1]), text)

    def copy(self, copied: Copied) -> None:
        for name in copied.sources:
            source = ROOT / name
            target = self.source(copied.stage) / (copied.target if source.is_dir() else Path(copied.target) / name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)

    def run(self, step: Step) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        environment |= {name: self.moved(value, step.stage) for name, value in step.environment.items()}
        command = ["/bin/bash", "-o", "pipefail", "-c", self.moved(step.command, step.stage)]
        done = subprocess.run(command, cwd=self.source(step.stage), env=environment)
        if done.returncode:
            sys.exit(f"{step.stage}: `{step.command}` ended with exit code {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--argument", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    given = parser.parse_args()
    stages = parse(DOCKERFILE.read_text())
    if given.target not in stages:
        sys.exit(f"{given.target}: no such target; choose one of {', '.join(stages)}")
    arguments = dict(one.partition("=")[::2] for one in given.argument)
    known = {one.text.partition("=")[0] for stage in stages.values() for one in stage.all("ARG")}
    if unknown := arguments.keys() - known:
        sys.exit(f"--argument {min(unknown)}: the stages have no such ARG; choose one of {', '.join(sorted(known))}")
    with tempfile.TemporaryDirectory(prefix="roadcast-install-") as folder:
        scratch, path = Scratch(Path(folder), stages), f"{folder}/python/bin:/usr/local/bin:/usr/bin:/bin"
        if not given.dry_run:
            venv.create(Path(folder) / "python", with_pip=True)
        last: Step | None = None
        for one in plan(stages, given.target, arguments, path):
            if isinstance(one, Copied):
                print(f"{one.stage:12} COPY   {' '.join(one.sources)}", flush=True)
                scratch.copy(one)
                continue
            print(f"{one.stage:12} {'RUN ' if one.runs else 'omit'}   {one.command}", flush=True)
            if one.runs and not given.dry_run:
                scratch.run(one)
                last = one
        if last is not None:
            command = final_command(stages, given.target)
            for check in ["pip check", *([f"{command[0]} {command[1]} --help"] if command[0] == "roadcast" else [])]:
                scratch.run(Step(last.stage, check, last.environment, True))
            print(f"{given.target}: installed", flush=True)


if __name__ == "__main__":
    main()
