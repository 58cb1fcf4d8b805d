"""A sweep: runs at points of a space, each chosen by what the ones before came to, and the best of them."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from roadcast.errors import UserError
from roadcast.files import write_file
from roadcast.research.ablate import PAGE, TABLE, Outcome, write_text
from roadcast.research.execute import Site, Tell, execute
from roadcast.research.report import sweep_page
from roadcast.research.score import badness
from roadcast.research.space import SAMPLERS, Tried, ask, changes_of, point_of
from roadcast.research.store import Row
from roadcast.research.study import Trial, load_study
from roadcast.research.table import markdown, ranked, sweep_table

BEST = "best.json"


@dataclass(frozen=True)
class Found(Outcome):
    """And the best run, whose configuration is a recipe at `recipe`."""

    best: Row
    recipe: Path


def sweep(
    path: Path, out: Path, *, runs: int, sampler: str = "random", jobs: int = 1, device: str = "cpu", tell: Tell = print
) -> Found:
    """Run the study in `path` at `runs` points of its space, in the folder `out`; write table.md, report.html and best.json there.

    A run that was begun keeps its point; one that is finished is not run again. More runs may be asked for later.
    Raises `UserError` for a study without a space, an unknown sampler, or where no run succeeds.
    """
    study = load_study(path)
    if not study.space:
        raise UserError(f"{path}: has no [space] to look in; add the settings to sweep, each with its range")
    if runs < 1:
        raise UserError(f"runs = {runs}; use 1 or more")
    if sampler not in SAMPLERS:
        raise UserError(f"sampler {sampler!r} is unknown; choose one of {', '.join(SAMPLERS)}")
    site, score, lock = Site(path.stem, study, out, device, tell), study.scores[0], Lock()

    def trial(number: int) -> Trial:
        with lock:
            begun = site.begun(f"{number}-{study.seeds[0]}")
            if begun is not None:
                return begun
            tried = [
                Tried(point_of(row.changes, study.space), badness(score, row.value(score))) for row in site.store.rows()
            ]
            point = ask(sampler, study.space, tried, study.seeds[0], number)
            return Trial(str(number), changes_of(point), study.seeds[0])

    rows = execute(site, [lambda n=n: trial(n) for n in range(runs)], jobs)
    if not rows:
        raise UserError(f"{out}: no run of the sweep succeeded; their logs are in runs/*/log.txt")
    table, best = sweep_table(rows, study.space, study.scores), ranked(rows, score)[0]
    write_text(out / TABLE, markdown(table))
    write_text(out / PAGE, sweep_page(site.name, table, rows, score, best.changes))
    recipe = site.config(Trial(best.name, tuple(best.changes), best.seed))
    write_file(out / BEST, recipe.save)
    return Found(table, out / PAGE, len(rows), runs, best, out / BEST)
