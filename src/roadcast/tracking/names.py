"""Names that trackers know a stage by."""

import hashlib
from pathlib import Path

PROJECT = "roadcast"


def run_name(folder: Path) -> str:
    """What people read: `RUN/STAGE`, the names of the stage's folder and of the one above it."""
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}"


def run_id(folder: Path) -> str:
    """Sixteen hexadecimal digits that are the same for a stage whenever it goes on in the same folder."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
