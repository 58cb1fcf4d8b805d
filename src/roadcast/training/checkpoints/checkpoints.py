"""The states of a stage in their folder: saved whole or not at all, verified before they are used, retired when they are old."""

import json
import math
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadcast.errors import UserError
from roadcast.files import partial, partials, remove, sha256, sync, sync_folder, write_file
from roadcast.training.checkpoints.manifest import damage, write_manifest
from roadcast.training.checkpoints.migrate import fill, old_damage, read_old
from roadcast.training.checkpoints.ranks import Ranks
from roadcast.training.checkpoints.storage import Tensors, layout, read, staged, write, written

FACTS, LATEST = "facts.json", "latest"
STATE = re.compile(r"step-(\d{8,})(|\.replaced|\.pt)")
"""A saved state's name. `.replaced` is what a state of the same step is called while another takes its place, `.pt` one of schema 1."""


@dataclass(frozen=True)
class Saved:
    """A state on disk."""

    path: Path
    step: int

    @property
    def score(self) -> float:
        """The score it was saved with; infinite where it had none."""
        try:
            score = json.loads((self.path / FACTS).read_text())["score"]
        except (OSError, ValueError, KeyError):
            return math.inf
        return math.inf if score is None or math.isnan(score) else score


class Checkpoints:
    """The states of one stage in `folder`: step-NNNNNNNN/{.metadata, __R_0.distcp of each rank R, facts.json, manifest.json}, and
    `latest`, which names the last that is durable.

    keep        newest states that stay
    keep_best   as many with the lowest scores stay besides
    background  `save` returns once the tensors are copied to host memory, and a thread writes them
    report      is told of a damaged state, which is passed over for the one before it

    Every method is for all ranks to call alike; what fails on one raises on all. The folder is on a disk that all of them see.
    """

    def __init__(
        self, folder: Path, *, keep: int, keep_best: int = 0, background: bool = False, report: Callable[[str], None]
    ) -> None:
        self.folder, self.keep, self.keep_best, self.report = Path(folder), keep, keep_best, report
        self.ranks = Ranks()
        self.thread = ThreadPoolExecutor(1, "checkpoints") if background else None
        self.pending: Future[None] | None = None

    def save(self, step: int, tensors: Tensors, facts: dict[str, Any], score: float | None = None) -> None:
        """Save the state after `step` steps, once the save before it is durable.

        tensors  in dicts in dicts, by names that are the same however they are sharded over the ranks
        facts    what else there is, as JSON; "step" is added
        score    the lower the better

        It is seen by no reader before all of it is on the disk; a save that fails leaves nothing behind, and what was there as it
        was. States of later steps are of a past that was rolled back, and go. Raises `OSError` for a disk that is full or bars one,
        in the background at the next call of any method.
        """
        self.wait()
        text = json.dumps({"score": score, "facts": {**facts, "step": step}}, indent=1) + "\n"
        if self.thread is None:
            self._write(step, tensors, text)
        else:
            self.pending = self.thread.submit(self._write, step, staged(tensors), text)

    def wait(self) -> None:
        """Return when what was being saved in the background is durable; raises what went wrong there."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def latest(self, before: int | None = None) -> Saved | None:
        """The newest state that is whole, of a step below `before` if given; None where there is none.

        Raises `UserError` where there are some and all are damaged, or one was written by a newer roadcast.
        """
        self.wait()
        states = self.ranks.once(lambda: _states(self.folder, _named(self.folder / LATEST)))
        return self._whole(saved for saved in reversed(states) if before is None or saved.step < before)

    def best(self) -> Saved | None:
        """The state with the lowest score that is whole; None where none has a score."""
        self.wait()
        scored = self.ranks.once(lambda: [(saved.score, saved) for saved in _states(self.folder)])
        scored.sort(key=lambda pair: pair[0])
        return self._whole(saved for score, saved in scored if score < math.inf)

    def layout(self, saved: Saved) -> Tensors:
        """The tensors of a state, nested as they were saved, of which the shapes and types alone are to be looked at."""
        return layout(saved.path) if saved.path.is_dir() else read_old(saved.path)[0]

    def load(self, saved: Saved, tensors: Tensors) -> dict[str, Any]:
        """Read a state into `tensors`, in place, and return its facts. It may hold more than is asked for.

        Raises `UserError` where a tensor is not in it, or has another shape.
        """
        if saved.path.is_dir():
            read(tensors, saved.path, self.ranks)
            return json.loads((saved.path / FACTS).read_text())["facts"]
        whole, facts = read_old(saved.path)
        fill(tensors, whole, saved.path)
        return facts

    def _write(self, step: int, tensors: Tensors, facts: str) -> None:
        path = self.folder / f"step-{step:08d}"
        beside = partial(path)
        try:
            self.ranks.once(lambda: self._prepare(beside))
            write(tensors, beside, self.ranks)
            digests = self.ranks.each(lambda: {file.name: sha256(file) for file in written(beside, self.ranks.rank)})
            self.ranks.once(lambda: self._finish(Saved(path, step), beside, digests, facts))
        except BaseException:
            if self.ranks.rank == 0:
                with suppress(OSError):
                    remove(beside)
            raise

    def _prepare(self, beside: Path) -> None:
        """Rank 0: an empty folder to write to, and nothing of saves that were killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in partials(self.folder):
            remove(left)
        beside.mkdir()

    def _finish(self, saved: Saved, beside: Path, digests: list[dict[str, str]], facts: str) -> None:
        """Rank 0: complete the folder, flush it to the disk, put it in its place, name it the latest, retire old ones."""
        (beside / FACTS).write_text(facts)
        known = {name: digest for rank in digests for name, digest in rank.items()}
        if unseen := [name for name in known if not (beside / name).exists()]:
            raise UserError(
                f"{self.folder}: {unseen[0]}, written by another process, is not seen by the first; "
                "use a folder on a disk that all machines share"
            )
        write_manifest(beside, known | {FACTS: sha256(beside / FACTS)})
        for file in beside.iterdir():
            sync(file)
        sync_folder(beside)
        replaced = saved.path.with_name(f"{saved.path.name}.replaced")
        if saved.path.exists():
            remove(replaced)
            os.replace(saved.path, replaced)
        os.replace(beside, saved.path)
        sync_folder(self.folder)
        write_file(self.folder / LATEST, lambda latest: latest.write_text(f"{saved.path.name}\n"))
        self._retire(saved)

    def _retire(self, saved: Saved) -> None:
        """Rank 0: remove all but the newest and the best of the states up to `saved`."""
        states = [old for old in _states(self.folder) if old.step < saved.step] + [saved]
        best = sorted((old for old in states if old.score < math.inf), key=lambda old: old.score)[: self.keep_best]
        for old in _states(self.folder):
            if old not in states[-self.keep :] + best:
                remove(old.path)

    def _whole(self, candidates: Iterable[Saved]) -> Saved | None:
        """The first of `candidates` that is whole, which the ranks find out together, each by its share of the files."""
        damaged = []
        for saved in candidates:
            found = [text for text in self.ranks.each(lambda saved=saved: self._damage(saved)) if text]
            if not found:
                return saved
            if self.ranks.rank == 0:
                self.report(f"{'; '.join(found)}; the state is passed over")
            damaged += found
        if damaged:
            raise UserError(f"no state can be read: {'; '.join(damaged)}; remove them to begin the stage anew")
        return None

    def _damage(self, saved: Saved) -> str | None:
        if saved.path.is_dir():
            return damage(saved.path, self.ranks.rank, self.ranks.count)
        return old_damage(saved.path) if self.ranks.rank == 0 else None


def _states(folder: Path, last: int | None = None) -> list[Saved]:
    """The states in `folder`, oldest first, up to step `last` if given; one that was replaced comes before the one in its place."""
    found = [(path, match) for path in folder.glob("step-*") if (match := STATE.fullmatch(path.name))]
    states = sorted((int(match[1]), match[2] == "", path) for path, match in found)
    return [Saved(path, step) for step, _, path in states if last is None or step <= last]


def _named(latest: Path) -> int | None:
    """The step of the state that the file `latest` names; None where it names none that is there."""
    try:
        name = latest.read_text().strip()
    except (OSError, ValueError):
        return None
    match = STATE.fullmatch(name)
    return int(match[1]) if match and latest.with_name(name).exists() else None
