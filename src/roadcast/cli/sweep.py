"""`roadcast sweep`."""

from pathlib import Path
from typing import Literal

from roadcast.cli.console import say, show_table
from roadcast.cli.device import checked


def sweep(
    study: Path,
    /,
    *,
    out: Path,
    runs: int = 8,
    sampler: Literal["random", "tpe"] = "random",
    jobs: int = 1,
    device: str = "cpu",
) -> None:
    """Look for better settings: train at points of a space, at random or by TPE, and keep the best as a recipe.

    Examples:
      roadcast sweep recipes/sweep_micro.toml --out runs/sweep --runs 8
      roadcast sweep recipes/sweep_micro.toml --out runs/sweep --runs 32 --sampler tpe --jobs 2

    The study's file names a recipe, data, and the space (docs/research.md). Stopped or killed at any moment, the same command goes on;
    asked for more runs, it adds them. OUT holds table.md, report.html, results/, the runs, and best.json, a recipe for `roadcast train`.

    Args:
        study: The study, a .toml; recipes/sweep_*.toml are examples.
        out: Folder for everything it makes.
        runs: Points in all, those that are finished included.
        sampler: random, or tpe: near what did well so far; needs pip install 'roadcast[sweep]'.
        jobs: Runs side by side.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    from roadcast.research.sweep import sweep as run

    found = run(study, out, runs=runs, sampler=sampler, jobs=jobs, device=checked(device), tell=say)
    show_table(found.table)
    if found.finished < found.of:
        say(f"{found.of - found.finished} of {found.of} runs failed; the same command tries them again")
    say(f"best: run {found.best.name}: {' '.join(found.best.changes)}")
    say(f"its recipe: {found.recipe}; report: {found.page}")
