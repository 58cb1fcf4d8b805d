"""The Dockerfile, read: its stages and what each one says. Enough of the syntax for ours; heredocs are refused."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

DOCKERFILE = Path(__file__).with_name("Dockerfile")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `word` upper case, `text` all that follows, joined to one line."""

    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments without --options; of the JSON form or of the plain one."""
        return json.loads(self.text) if self.text.startswith("[") else re.sub(r"--\S+\s+", "", self.text).split()

    def option(self, name: str) -> str | None:
        """The value of --name=value, or None."""
        found = re.search(rf"--{name}=(\S+)", self.text)
        return found[1] if found else None


@dataclass
class Stage:
    """From one FROM to the next: `base` is an image or the name of an earlier stage."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.word == word]


def parse(text: str) -> dict[str, Stage]:
    """The stages by name, in the file's order, the ${ARGUMENTS} before the first FROM put into the names of images."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.strip().partition(" ")
        instruction = Instruction(word.upper(), " ".join(rest.split()))
        if "<<" in rest:
            raise ValueError(f"{line!r}: heredocs are not read here; write the command on one line")
        if instruction.word == "FROM":
            base, _, name = instruction.text.partition(" AS ")
            stages[name] = Stage(name, re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base))
        elif stages:
            next(reversed(stages.values())).instructions.append(instruction)
        else:
            name, _, value = instruction.text.partition("=")
            arguments[name] = value
    return stages


def chain(stages: dict[str, Stage], name: str) -> list[Stage]:
    """The stage and those it is built on, the first one first: what an image of it is made of."""
    stage = stages[name]
    return [*(chain(stages, stage.base) if stage.base in stages else []), stage]


def needed(stages: dict[str, Stage], name: str) -> list[Stage]:
    """Every stage that must be built before, and then the stage: bases and those that it copies from."""
    before: dict[str, Stage] = {}
    for stage in chain(stages, name):
        for source in [copy.option("from") for copy in stage.all("COPY")]:
            if source is not None:
                before |= {one.name: one for one in needed(stages, source)}
        before[stage.name] = stage
    return list(before.values())
