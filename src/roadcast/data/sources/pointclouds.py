"""Point clouds in files: float32 [points, columns], None where a file is missing or unreadable; points that are not finite go."""

from pathlib import Path

import numpy as np

KINDS = {"F": "f", "I": "i", "U": "u"}


def read_bin(path: Path, columns: int) -> np.ndarray | None:
    """The points of a file of bare float32 numbers, little-endian, `columns` a point."""
    try:
        numbers = np.fromfile(path, "<f4")
    except OSError:
        return None
    return None if numbers.size % columns else _finite(numbers.reshape(-1, columns))


def read_text(path: Path, columns: int, delimiter: str | None = None) -> np.ndarray | None:
    """The points of a file of text, a point a line, of which the first `columns` numbers are taken."""
    try:
        numbers = np.loadtxt(path, np.float32, delimiter=delimiter, usecols=range(columns), ndmin=2)
    except (OSError, ValueError):
        return None
    return _finite(numbers.reshape(-1, columns))


def read_pcd(path: Path, fields: tuple[str, ...]) -> np.ndarray | None:
    """The `fields` of the points of a Point Cloud Data file (version 0.7, binary, a number a field)."""
    try:
        data = path.read_bytes()
        header, mark, body = data.partition(b"\nDATA binary\n")
        told = {words[0]: words[1:] for line in header.decode("ascii").splitlines() if (words := line.split())}
        names, sizes, kinds = told["FIELDS"], told["SIZE"], told["TYPE"]
        row = np.dtype([(n, f"<{KINDS[k]}{s}") for n, k, s in zip(names, kinds, sizes, strict=True)])
        points = np.frombuffer(body, row, int(told["POINTS"][0])) if mark else None
        return None if points is None else _finite(np.stack([points[n].astype(np.float32) for n in fields], 1))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _finite(points: np.ndarray) -> np.ndarray:
    """`points` float32, less those whose place (the first three columns) is not finite."""
    known = np.isfinite(points[:, :3]).all(1)
    return np.ascontiguousarray(points if known.all() else points[known], np.float32)
