"""The card of a world that is given away (Mitchell et al. 2019, "Model Cards for Model Reporting"), from what its runs wrote down."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadcast.config import Config, StageConfig, load_config
from roadcast.data.reel.layout import read_header
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.files import sha256
from roadcast.training.record import NAME, read_record

BUILT_IN = "toyroad"

CARD = """# {name}

A world to drive: {height}x{width} pixels (height x width) at {fps:g} a second, under {actions}; {parameters:.2f} million parameters,
{passes} a frame.

## Use

Made to be driven, looked into and measured: `roadcast drive`, `roadcast evaluate`. It is no simulator: nothing it shows may decide
anything about a real vehicle.

It knows its recordings and nothing else. What they lack it cannot draw, its pictures are softer than theirs, and places are
forgotten once they have left the {context} frames it remembers: turn round, and another road may be there.

{licence}

## Data

{data}

## Training

Seed {seed}. Every setting of every stage is in config.json.

{stages}

{runs}

## Scores

{scores}

## Files

{files}
"""


def model_card(name: str, run: Path, world: Path, config: Config, parameters: int) -> str:
    """The card, in Markdown, of the world that `run` made, given away as the files in `world`.

    config  the world's, with the stages of all runs that led to it
    Raises `UserError` where one of the runs has no record.
    """
    runs = lineage(run)
    records = [record_of(folder) for folder in runs]
    reels = {reel["fingerprint"]: Path(reel["path"]) for record in records for reel in record["reels"]}
    ladder = run / "ladder.md"
    return CARD.format(
        name=name,
        height=config.data.height,
        width=config.data.width,
        fps=config.data.fps,
        actions=" and ".join(config.dynamics.actions),
        parameters=parameters / 1e6,
        passes="1 network pass" if config.flow.steps == 1 else f"{config.flow.steps} network passes",
        context=config.dynamics.context_frames,
        licence=licence(list(reels.values())),
        data="\n".join(f"- {told_reel(path, fingerprint)}" for fingerprint, path in reels.items()),
        seed=config.seed,
        stages=table(
            ["stage", "objective", "options", "steps", "clips a step", "frames a clip"],
            [told_stage(stage_name, stage) for stage_name, stage in config.train.items()],
        ),
        runs="\n\n".join(map(told_run, records)),
        scores=ladder.read_text().strip() if ladder.exists() else "Not measured by its run.",
        files=table(["file", "bytes", "SHA-256"], [told_file(path) for path in sorted(world.iterdir())]),
    )


def lineage(run: Path) -> list[Path]:
    """The runs that led to the world of `run`, the first one first: each began (`start`) with a world of the one before."""
    runs = [run]
    while start := load_config(runs[0] / "config.json").start:
        runs.insert(0, next((folder for folder in Path(start).parents if (folder / NAME).exists()), Path(start)))
    return runs


def record_of(run: Path) -> dict[str, Any]:
    """A run's record; `UserError` where there is none."""
    if (record := read_record(run)) is None:
        raise UserError(f"{run}: has no {NAME}, so no card can tell what made the world; give a run's own folder")
    return record


def licence(reels: Sequence[Path]) -> str:
    """What is known of the licence of a world that learned from these reels."""
    if all(path.exists() and {video.source for video in Reel(path).videos} == {BUILT_IN} for path in reels):
        return "Licence: Apache-2.0, as roadcast. It learned from nobody's recordings, only from the world built into roadcast."
    return "Licence: not said. It learned from recordings; ask whose they are before you give it on."


def told_reel(path: Path, fingerprint: str) -> str:
    """A reel by name, origin and fingerprint; of where it lies on the machine, nothing."""
    origin = str(read_header(path)["origin"].get("source", "")) if path.exists() else ""
    source = f", `{origin}`" if origin.startswith(f"{BUILT_IN}:") else ""
    return f"{path.name}{source}, fingerprint {fingerprint}"


def told_stage(name: str, stage: StageConfig) -> list[str]:
    options = ", ".join(f"{key} {value:g}" for key, value in stage.options.items())
    return [
        name,
        stage.objective,
        options,
        str(stage.steps),
        str(stage.batch * stage.accumulate),
        str(stage.clip_frames),
    ]


def told_run(record: dict[str, Any]) -> str:
    """The command of a run, without the machine's own paths, and what it ran on."""
    program, *arguments = (re.sub(r"(^|=)/.*/", r"\1", part) for part in record["command"])
    machine, git = record["environment"], record["git"] or {}
    commit = (
        f"at commit {git['commit'][:12]}{' and changes to it' if git['changed'] else ''}" if git else "as installed"
    )
    where = ", ".join(machine.get("gpus", [f"{machine['cores']} cores, {machine['processor']}"]))
    command = shlex.join(["roadcast" if program == "__main__.py" else program, *arguments])
    made_by = f"roadcast {record['roadcast']} {commit}, torch {machine['libraries']['torch']}"
    return f"    {command}\n\n{made_by}, {where}, {record['precision']}."


def told_file(path: Path) -> list[str]:
    return [path.name, str(path.stat().st_size), sha256(path)]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
