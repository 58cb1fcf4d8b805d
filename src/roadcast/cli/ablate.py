"""`roadcast ablate`."""

from pathlib import Path

from roadcast.cli.console import say, show_table
from roadcast.cli.device import checked


def ablate(study: Path, /, *, out: Path, jobs: int = 1, device: str = "cpu") -> None:
    """Train the variants of a study from several seeds, and tell what each change does, with confidence.

    Examples:
      roadcast ablate recipes/ablate_dynamics.toml --out runs/ablation --jobs 2
      roadcast ablate recipes/ablate_micro.toml --out runs/micro

    The study's file names a recipe, data, seeds, and changes one at a time or in a grid (docs/research.md). Each run is a process with one
    thread; stages that all share are trained once. Stopped or killed at any moment, the same command goes on; what is finished
    is not run again, and a run that fails is told while the others go on. OUT holds table.md, report.html, results/ and the runs.

    Args:
        study: The study, a .toml; recipes/ablate_*.toml are examples.
        out: Folder for everything it makes.
        jobs: Runs side by side.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    from roadcast.research.ablate import ablate as run

    outcome = run(study, out, jobs=jobs, device=checked(device), tell=say)
    show_table(outcome.table)
    if outcome.finished < outcome.of:
        say(f"{outcome.of - outcome.finished} of {outcome.of} runs failed; the same command tries them again")
    say(f"report: {outcome.page}")
