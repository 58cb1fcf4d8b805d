"""An ablation: every variant of a study from every seed, and how far each is from the base."""

from dataclasses import dataclass
from pathlib import Path

from roadcast.files import write_file
from roadcast.research.execute import Site, Tell, execute
from roadcast.research.report import ablation_page
from roadcast.research.study import load_study, trials, variants
from roadcast.research.table import Table, ablation_table, markdown

TABLE, PAGE = "table.md", "report.html"


@dataclass(frozen=True)
class Outcome:
    """What a study came to: its table, the page that shows it, how many of its runs are finished, and of how many."""

    table: Table
    page: Path
    finished: int
    of: int


def ablate(path: Path, out: Path, *, jobs: int = 1, device: str = "cpu", tell: Tell = print) -> Outcome:
    """Run what is not finished yet of the study in `path`, in the folder `out`; write table.md and report.html there.

    jobs  runs side by side, each a process with one thread
    tell  of what happens, in sentences
    Raises `UserError` for a study that cannot be, or whose finished runs in `out` had other settings.
    """
    study = load_study(path)
    asked = trials(study)
    site = Site(path.stem, study, out, device, tell)
    for trial in asked:
        site.finished(trial, site.config(trial))  # what does not fit is told before hours of training
    done = execute(site, [lambda trial=trial: trial for trial in asked], jobs)
    changes = variants(study)
    by_variant = {name: [row for row in done if row.name == name] for name in changes}
    table = ablation_table(by_variant, study.scores)
    if done:
        write_text(out / TABLE, markdown(table))
        write_text(out / PAGE, ablation_page(site.name, table, by_variant, study.scores, changes))
    return Outcome(table, out / PAGE, len(done), len(asked))


def write_text(path: Path, text: str) -> None:
    """Text whole, or as it was."""
    write_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))
