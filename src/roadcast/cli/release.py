"""`roadcast release`."""

from pathlib import Path

from roadcast.cli.console import say, show_facts, size
from roadcast.cli.folders import check_free, run_of, world_folder
from roadcast.errors import UserError
from roadcast.files import replacing


def release(run: Path, /, out: Path, steps: int | None = None) -> None:
    """Make a finished world ready to be given away: half the bytes, no paths of this machine, and a model card.

    Examples:
      roadcast release runs/mine --out mine
      roadcast release runs/mine/ladder --out mine --steps 1
      roadcast drive mine

    The card, CARD.md, tells what the world is and is for, its data, every run and stage that led to it, its scores if
    `roadcast distil` has measured them, and the SHA-256 of each file. Weights are float16 on the disk and float32 when
    read again.

    Args:
        run: The run's folder, with its record.
        out: The folder to write; it must be empty or not there yet. Its name is the world's.
        steps: Network passes a frame it is to be driven in. The world's own number when not given.
    """
    check_free(out)
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: give at least 1")
    if (made_by := run_of(world_folder(run))) is None:
        raise UserError(f"{run}: is not in the run that made it, which its card tells of; give the run's folder")

    from roadcast.training.release import release as release_world

    with replacing(out) as beside:
        beside.mkdir()
        release_world(made_by, beside, out.resolve().name, steps)
    say(f"{out}: drive it with `roadcast drive {out}`")
    show_facts({file.name: size(file.stat().st_size) for file in sorted(out.iterdir())}, indent="  ")
