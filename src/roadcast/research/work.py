"""One run of a study, in a process of its own: trained, measured, and put into the store.

    python -m roadcast.research.work FOLDER DEVICE

FOLDER holds order.json, which says everything. A run that was killed goes on where it was. The process ends when its standard input
does, so that no run outlives the study that began it.
"""

import dataclasses
import json
import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import torch

import roadcast
from roadcast.config import Config
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.runner import evaluate
from roadcast.files import write_file
from roadcast.flow.world import World
from roadcast.overlay import first_difference, overlay
from roadcast.research.score import held_out_scores, scores_of
from roadcast.research.shared import begin_after, keep_latents
from roadcast.research.store import Row, Store
from roadcast.research.study import Measure, Trial
from roadcast.training.metrics import read_log
from roadcast.training.record import environment, git_state
from roadcast.training.run import train

ORDER = "order.json"


@dataclass(frozen=True)
class Order:
    """All that a run needs to know.

    shared   the folder of the shared stages, "" for none, and `stages`, their names
    trial    None for the shared stages themselves, which are trained and not measured
    """

    study: str
    config: dict[str, Any]
    measure: dict[str, Any]
    stages: list[str]
    shared: str = ""
    trial: dict[str, Any] | None = None
    store: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Order | None":
        """The order in a run's folder, or None where none was placed."""
        path = folder / ORDER
        return cls(**json.loads(path.read_text())) if path.exists() else None

    def place(self, folder: Path) -> None:
        """Write it into the run's folder; `UserError` where a run with another order was begun there."""
        path = folder / ORDER
        ours = json.loads(json.dumps(dataclasses.asdict(self)))
        if path.exists() and (change := first_difference(json.loads(path.read_text()), ours)) is not None:
            raise UserError(
                f"{folder}: was begun with other settings ({change}); choose another --out, or the same study"
            )
        write_file(path, lambda beside: beside.write_text(json.dumps(ours, indent=1) + "\n"))


def work(folder: Path, device: str) -> None:
    """Carry out the order in `folder`, from wherever it was left."""
    order = Order.read(folder)
    assert order is not None
    config = overlay(Config(), order.config, str(folder / ORDER)).validate()
    stages, reel = tuple(order.stages), Reel(Path(config.data.reel))
    if order.shared:
        begin_after(Path(order.shared), folder, config, stages)
    world = World.load(train(config, folder, report=tell, device=device), device)
    if order.trial is None:
        keep_latents(world, folder, reel, tell)
        return
    trial = Trial.of(order.trial)
    measure = overlay(Measure(), order.measure, str(folder / ORDER))
    result = evaluate(
        world, reel, split=measure.split, clips=measure.clips, context=measure.context, horizon=measure.horizon,
        steering_contexts=measure.steering_contexts, progress=lambda what, done, of: tell(what, done, of, {}),
    )  # fmt: skip
    result.save(folder / "evaluation", title=f"{order.study}: {trial.name}, seed {trial.seed}")
    record = json.loads((folder / "evaluation" / "metrics.json").read_text())
    own = [name for name in config.train if not order.shared or name not in stages]
    row = Row(
        study=order.study, name=trial.name, seed=trial.seed, changes=list(trial.changes), config=order.config,
        measure=order.measure, protocol=record["protocol"], scores=scores_of(record) | held_out_scores(folder / [*config.train][-1]),
        floor=scores_of(record, "copy"),
        parameters={name: sum(p.numel() for p in part.parameters()) for name, part in world.named_children()},
        seconds={
            "train": sum(seconds_of(folder / name) for name in own),
            "frame": 1 / record["seconds"]["imagined_frames_per_second"],
        },
        record={
            "roadcast": roadcast.__version__, "git": git_state(Path(roadcast.__file__).parent), "environment": environment(),
        },
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    Store(Path(order.store)).add(trial.key, row)


def seconds_of(stage: Path) -> float:
    """How long the steps of a stage took, those that a kill undid left out."""
    total, before = 0.0, 0
    for row in read_log(stage / "log.jsonl"):
        if "step_seconds" in row:
            total, before = total + row["step_seconds"] * (row["step"] - before), row["step"]
    return total


def tell(what: str, done: int, of: int, latest: dict[str, float]) -> None:
    """A line of progress for every tenth."""
    if done == of or done % max(1, of // 10) == 0:
        print(f"{what} {done}/{of}" + (f" loss {latest['loss']:.4f}" if "loss" in latest else ""), flush=True)


def end_with_parent() -> None:
    """End this process, wherever it is, once nobody holds the other end of its standard input."""

    def wait() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock the interpreter wants when it ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        work(Path(sys.argv[1]), sys.argv[2])
    except UserError as error:
        sys.exit(str(error))
