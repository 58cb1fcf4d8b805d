"""The log of a run: one JSON object a line."""

import json
from pathlib import Path
from typing import Protocol

from roadcast.files import write_file


class Logger(Protocol):
    """Where a run's figures go. JSON lines always; trackers beyond the core implement this in `roadcast.tracking`."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class JsonLog:
    """Appends to `log.jsonl`; on opening, rows of steps not yet reached (a killed run's) are taken out."""

    def __init__(self, path: Path, step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_log(path) if row["step"] <= step]
        write_file(path, lambda beside: beside.write_text("".join(json.dumps(row) + "\n" for row in rows)))
        self.file = open(path, "a")

    def log(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The whole rows of a log, or none when there is no such file; a last row cut short by a crash is left out."""
    rows = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
