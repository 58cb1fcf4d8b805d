"""Studies small enough for tests, and processes that are none."""

import dataclasses
from pathlib import Path

from roadcast.data.ingest import ingest
from roadcast.research.execute import RunFailedError, Site
from roadcast.research.store import Store
from roadcast.research.study import Trial
from roadcast.research.work import Order, work
from rows import row
from worlds import micro_config


def make_reel(path: Path) -> Path:
    """Drives of the built-in world, 32x64."""
    source = "toyroad:recordings=4,frames=24,weather=clear,height=32,width=64"
    ingest(source, path, height=32, width=64, min_seconds=0, workers=0)
    return path


def write_study(folder: Path, text: str, reel: Path | str = "nowhere", seeds: str = "[0, 1]") -> Path:
    """A study over the micro configuration; `text` are its variants or its space."""
    config = micro_config()
    config.save(folder / "micro.json")
    head = f'recipe = "micro.json"\nreel = "{reel}"\nseeds = {seeds}\nscores = ["psnr@2", "warp_error@4"]\n'
    (folder / "study.toml").write_text(head + text + "[measure]\nclips = 2\ncontext = 3\nhorizon = 4\n")
    return folder / "study.toml"


class Processes:
    """Stands for the processes of runs, and counts them: each is carried out here if `real`, else its result is made up.

    Runs whose names are in `failing` fail.
    """

    def __init__(self, monkeypatch, real: bool = False):
        self.real = real
        self.begun: list[str] = []
        self.failing: set[str] = set()
        monkeypatch.setattr(Site, "_process", lambda site, folder, order: self._carry_out(folder, order))

    def _carry_out(self, folder: Path, order: Order) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        order.place(folder)
        trial = None if order.trial is None else Trial.of(order.trial)
        self.begun.append(trial.name if trial else "shared")
        if trial and trial.name in self.failing:
            raise RunFailedError("out of luck")
        if self.real:
            work(folder, "cpu")
        elif trial:
            psnr = 20 + trial.seed + len(self.begun) / 10
            made_up = row(trial.name, trial.seed, psnr, changes=trial.changes)
            result = dataclasses.replace(made_up, config=order.config, measure=order.measure)
            Store(Path(order.store)).add(trial.key, result)
