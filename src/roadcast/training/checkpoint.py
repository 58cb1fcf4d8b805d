"""The full state of a stage on disk, so that a killed run goes on as if it had never stopped."""

import re
from pathlib import Path
from typing import Any

import torch

from roadcast.errors import UserError
from roadcast.files import remove, write_file

SCHEMA = 1


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write `state` as `folder`/step-NNNNNNNN.pt, whole or not at all, and remove all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"step-{step:08d}.pt", lambda path: torch.save({"schema": SCHEMA, "step": step, **state}, path))
    for old in saved_states(folder)[:-keep]:
        remove(old)


def saved_states(folder: Path) -> list[Path]:
    """The state files in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d{8}\.pt", path.name))


def load_state(folder: Path) -> dict[str, Any] | None:
    """The newest state that can be read, or None when there is none.

    A damaged file is passed over for the one before it. Raises `UserError` when every file there is damaged, or one was
    written by a newer roadcast. Read with `weights_only`, so a file from outside cannot run code.
    """
    damaged = []
    for path in reversed(saved_states(folder)):
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many kinds for a damaged archive
            damaged.append(f"{path} ({type(error).__name__})")
            continue
        if state["schema"] > SCHEMA:
            raise UserError(
                f"{path}: written by a newer roadcast (schema {state['schema']}); install that one to resume"
            )
        return state
    if damaged:
        raise UserError(f"no readable state: {', '.join(damaged)}; remove them to begin the stage anew")
    return None
