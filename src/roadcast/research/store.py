"""Where finished runs are kept: a folder with one JSON file a run, each whole or absent, that nobody writes twice."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadcast.errors import UserError
from roadcast.files import write_file
from roadcast.research.score import Scores

RESULTS = "results"
"""What the folder is called in a study's."""


@dataclass(frozen=True)
class Row:
    """A finished run.

    study, name, seed  which it is: of which study, which variant or number of a sweep
    changes            how its configuration differs from the base's, as dotted assignments
    config             all of it;  measure  how it was evaluated
    protocol           of the evaluation, by which rows may be compared or not
    scores             means and intervals, by name (research/score.py);  floor  those of the last frame repeated
    parameters         of the tokenizer and of the dynamics
    seconds            `train`: of the stages that are its own; `frame`: of one imagined frame of one world
    record             roadcast's version, git state, machine and libraries (training/record.py)
    finished           when, ISO 8601
    """

    study: str
    name: str
    seed: int
    changes: list[str]
    config: dict[str, Any]
    measure: dict[str, Any]
    protocol: dict[str, Any]
    scores: Scores
    floor: Scores
    parameters: dict[str, int]
    seconds: dict[str, float]
    record: dict[str, Any]
    finished: str

    def value(self, score: str) -> float:
        """The mean of a score; NaN where it was not measured."""
        return self.scores[score][0] if score in self.scores else float("nan")


class Store:
    """The rows in a folder, by their keys."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def add(self, key: str, row: Row) -> None:
        """Keep a row for good."""
        path = self._path(key)
        assert not path.exists(), f"{path} is finished, and was run again"
        text = json.dumps(dataclasses.asdict(row), indent=1, allow_nan=False) + "\n"
        write_file(path, lambda beside: beside.write_text(text))

    def get(self, key: str) -> Row | None:
        """The row of a key, or None while its run is not finished."""
        path = self._path(key)
        return read_row(path) if path.exists() else None

    def rows(self) -> list[Row]:
        """All of them, in the order of their names."""
        return [read_row(path) for path in sorted(self.folder.glob("*.json"))]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def read_row(path: Path) -> Row:
    """The row in a file; `UserError` where it holds none."""
    try:
        return Row(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: is no result of a run ({error}); remove the file to have the run measured again"
        ) from None
