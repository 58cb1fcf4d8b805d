"""The runs of a study, several side by side, each a process; what is finished is not run again."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from roadcast.config import Config, migrate
from roadcast.data.ingest import ingest
from roadcast.errors import UserError
from roadcast.overlay import first_difference, overlay
from roadcast.research.shared import shared_part
from roadcast.research.store import RESULTS, Row, Store
from roadcast.research.study import Study, Trial
from roadcast.research.work import Order

LOG = "log.txt"
Tell = Callable[[str], None]


@dataclass
class Site:
    """A study at work in a folder.

    OUT/reel/           the source, ingested
    OUT/shared/DIGEST/  shared stages, and the latents that runs read
    OUT/runs/KEY/       a run: what `roadcast train` makes, evaluation/, and log.txt
    OUT/results/        the store: KEY.json once a run is finished

    All but reel and results may be removed when the study is done.
    """

    name: str
    study: Study
    out: Path
    device: str = "cpu"
    tell: Tell = print
    locks: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    @property
    def reel(self) -> Path:
        return (Path(self.study.reel) if self.study.reel else self.out / "reel").resolve()

    @property
    def store(self) -> Store:
        return Store(self.out / RESULTS)

    def folder(self, key: str) -> Path:
        """Where a run works."""
        return self.out / "runs" / key

    def config(self, trial: Trial) -> Config:
        """A run's configuration."""
        return self.study.config(self.reel, trial.changes, trial.seed)

    def begun(self, key: str) -> Trial | None:
        """The run of that key as it was finished or begun, or None where it is still to be chosen."""
        if (row := self.store.get(key)) is not None:
            return Trial(row.name, tuple(row.changes), row.seed)
        order = Order.read(self.folder(key))
        return None if order is None or order.trial is None else Trial.of(order.trial)

    def prepare(self) -> None:
        """Make the reel, where it is a source's. Raises `UserError` as `ingest` does."""
        if self.study.source:
            data = self.study.config(self.reel).data
            ingest(self.study.source, self.reel, height=data.height, width=data.width, fps=data.fps, min_seconds=0)

    def run(self, trial: Trial) -> Row | None:
        """The result of a run, which is made now unless it is there; None, and a line that says why, where it failed."""
        config = self.config(trial)
        if (row := self.finished(trial, config)) is not None:
            return row
        self.tell(f"{trial.key}: begins" if not self.folder(trial.key).exists() else f"{trial.key}: goes on")
        try:
            shared = self.shared(trial) if self.study.shared else ""
            self._process(self.folder(trial.key), self._order(config, trial, str(shared)))
        except RunFailedError as failed:
            self.tell(f"{trial.key}: failed: {failed}")
            return None
        row = self.store.get(trial.key)
        assert row is not None
        headline = self.study.scores[0]
        self.tell(f"{trial.key}: {headline} {row.value(headline):.4g}, trained in {row.seconds['train']:.0f} s")
        return row

    def finished(self, trial: Trial, config: Config) -> Row | None:
        """The run's result, or None; `UserError` where one of that name has another configuration."""
        row = self.store.get(trial.key)
        if row is not None:
            begun = overlay(Config(), migrate(row.config, trial.key), trial.key)  # by a roadcast of then
            kept = {"config": begun.to_dict(), "measure": row.measure}
            ours = {"config": config.to_dict(), "measure": dataclasses.asdict(self.study.measure)}
            if (change := first_difference(kept, ours)) is not None:
                raise UserError(
                    f"{self.store.folder}: {trial.key} was run with other settings ({change}); choose another --out"
                )
        return row

    def shared(self, trial: Trial) -> Path:
        """The folder of the stages that the run shares, trained by the first that comes for them."""
        part = shared_part(self.study.config(self.reel, trial.changes), self.study.shared)
        digest = hashlib.sha256(json.dumps(part.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
        folder = (self.out / "shared" / digest).resolve()
        with self.locks[digest]:
            if not (folder / "done").exists():
                self.tell(f"{', '.join(self.study.shared)}: trained once, for all runs that share it")
                self._process(folder, self._order(part, None, ""))
                (folder / "done").touch()
        return folder

    def _order(self, config: Config, trial: Trial | None, shared: str) -> Order:
        return Order(
            self.name, config.to_dict(), dataclasses.asdict(self.study.measure), list(self.study.shared), shared,
            dataclasses.asdict(trial) if trial else None, str(self.store.folder.resolve()),
        )  # fmt: skip

    def _process(self, folder: Path, order: Order) -> None:
        """Carry out an order in a process with one thread, whose input ends when this one does; `RunFailedError` has its last words."""
        order.place(folder)
        command = [sys.executable, "-m", "roadcast.research.work", str(folder), self.device]
        with open(folder / LOG, "a") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            if process.wait() != 0:
                words = (folder / LOG).read_text().strip().splitlines()
                ended = f"ended by signal {-process.returncode}" if process.returncode < 0 else words[-1]
                raise RunFailedError(f"{ended} (all of it in {folder / LOG})")


class RunFailedError(Exception):
    """A run's process ended without a result."""


def execute(site: Site, asks: Sequence[Callable[[], Trial]], jobs: int) -> list[Row]:
    """Run what is asked for, `jobs` at a time and in order; the rows of those that succeeded.

    asks  each called when its turn comes, so that it may depend on what is finished by then
    """
    if jobs < 1:
        raise UserError(f"jobs = {jobs}; use 1 or more")
    site.prepare()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(lambda ask=ask: site.run(ask())) for ask in asks]
        try:
            rows = [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)
    return [row for row in rows if row is not None]
