"""Controls over time from a .csv or .jsonl file."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.sources.base import Signal
from roadcast.errors import UserError

SUFFIXES = (".csv", ".jsonl")
TIMES = {"t": 1e9, "t_ns": 1.0}


def read_signals(path: Path) -> dict[str, Signal]:
    """The controls in a file with a column `t` (seconds) or `t_ns` and one column a control, named as in ACTIONS.

    Columns whose name begins with `_` are passed over, and an empty or NaN cell is a value unknown.
    Raises `UserError` for an unknown column, no time column, or a cell that is no number.
    """
    rows = _rows(path)
    t_ns = row_times(path, rows)
    columns = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if name not in TIMES and not name.startswith("_")
    ]
    for name in columns:
        if name not in ACTIONS:
            raise UserError(
                f"{path}: column {name!r} is unknown; known: {', '.join([*TIMES, *ACTIONS])}; begin its name with _ to leave it out"
            )
    if not columns:
        raise UserError(f"{path}: holds no control; add a column named one of {', '.join(ACTIONS)}")
    signals = {}
    for name in columns:
        values = np.array([_number(path, n, name, row.get(name)) for n, row in enumerate(rows)])
        action = ACTIONS[name]
        if (off := np.flatnonzero((values < action.low) | (values > action.high))).size:
            raise UserError(
                f"{path}: row {off[0] + 1}: {name} = {values[off[0]]:g} is outside {action.low:g} to {action.high:g}; "
                f"scale it ({action.unit})"
            )
        signals[name] = Signal.of(t_ns, values)
    return signals


def read_image_times(path: Path) -> dict[str, int] | None:
    """Time in ns by image file name, from the column `_file` beside `t` or `t_ns`; None if there is no such column."""
    rows = _rows(path)
    if "_file" not in rows[0]:
        return None
    return {Path(str(row["_file"])).name: int(t) for row, t in zip(rows, row_times(path, rows), strict=True)}


def row_times(path: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """The time of every row, int64 ns."""
    column = next((name for name in TIMES if name in rows[0]), None)
    if column is None:
        raise UserError(
            f"{path}: has no column t (seconds) or t_ns (nanoseconds); columns: {', '.join(rows[0])}; add one"
        )
    numbers = [_number(path, n, column, row.get(column)) for n, row in enumerate(rows)]
    if not np.isfinite(numbers).all():
        raise UserError(
            f"{path}: row {int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1}: {column} is empty; give every row a time"
        )
    if column == "t_ns":
        return np.array([int(row["t_ns"]) for row in rows], np.int64)
    return np.round(np.array(numbers) * TIMES[column]).astype(np.int64)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read as {path.suffix or 'CSV'}: {error}; give a .csv or .jsonl file"
        ) from None
    if not rows or not all(isinstance(row, dict) and None not in row for row in rows):
        raise UserError(f"{path}: holds no rows, or rows of unequal length; give a heading line and a row a moment")
    return rows


def _number(path: Path, row: int, column: str, cell: Any) -> float:
    try:
        return float("nan") if cell is None or cell == "" else float(cell)
    except (TypeError, ValueError):
        raise UserError(
            f"{path}: row {row + 1}: {column} = {cell!r} is no number; correct it or leave it empty"
        ) from None
