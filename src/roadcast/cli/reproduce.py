"""`roadcast reproduce`."""

import tempfile
from pathlib import Path

from roadcast.cli.console import say
from roadcast.cli.train import run_training
from roadcast.errors import UserError


def reproduce(run: Path, /, *, out: Path | None = None, device: str = "cpu") -> None:
    """Train a run again from its own record, and compare the loss curves.

    Examples:
      roadcast reproduce runs/mine
      roadcast reproduce runs/mine --out runs/again --device cuda

    The record (record.json) knows the code, the libraries, the machine, the data and the seed; what differs today is told
    first. On the same machine with the same code and libraries the losses are identical, to the last bit.

    Args:
        run: The folder of a finished run.
        out: Where to train it again; without it, in a folder that is removed afterwards.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    from roadcast.training.reproduce import compare, recorded

    config, differences = recorded(run)
    for difference in differences:
        say(f"differs: {difference}")
    with tempfile.TemporaryDirectory() as scratch:
        out = out or Path(scratch) / "run"
        run_training(config, out, device)
        compared = compare(run, out, list(config.train))
    for comparison in compared:
        say(comparison.told())
    if not all(comparison.reproduced for comparison in compared):
        raise UserError(f"{run}: was not reproduced; what differs is told above")
