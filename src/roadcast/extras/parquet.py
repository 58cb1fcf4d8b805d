"""Parquet tables through pyarrow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from roadcast.errors import UserError

BATCH = 16


def column_names(path: Path) -> list[str]:
    """The names of a table's columns."""
    with _opened(path, ()) as file:
        return list(file.schema_arrow.names)


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Whole columns by name, as lists of Python values; a `UserError` names one that is missing."""
    with _opened(path, columns) as file:
        table = file.read(columns=list(columns))
        return {name: table.column(name).to_pylist() for name in columns}


def read_arrays(path: Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Whole columns of numbers, [N], or of lists of numbers of one length, [N, k]; a `UserError` names one that is neither."""
    with _opened(path, columns) as file:
        table = file.read(columns=list(columns))
        arrays = {}
        for name in columns:
            if (values := _numbers(table.column(name))) is None:
                raise UserError(f"{path}: column {name!r} is not of numbers, one or as many in every row")
            arrays[name] = values
        return arrays


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows in the file's order, a few in memory at a time; a list of numbers is a numpy array."""
    with _opened(path, columns) as file:
        for batch in file.iter_batches(BATCH, columns=list(columns)):
            for row in range(batch.num_rows):
                yield {name: _value(batch.column(name)[row]) for name in columns}


def write_table(path: Path, columns: dict[str, Any], index: str | None = None) -> None:
    """A table of columns: numpy arrays [N] or [N, k], or lists; `index` is the column that pandas is to take for its index."""
    arrays = {name: _array(values) for name, values in columns.items()}
    table = pa.table(arrays)
    if index is not None:
        rows = [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
            for name in columns
            for kind, numpy in [("unicode", "object") if pa.types.is_string(arrays[name].type) else ("int64", "int64")]
        ]
        told = {
            "index_columns": [index],
            "column_indexes": [],
            "columns": rows,
            "creator": {},
            "pandas_version": "2.0.0",
        }
        table = table.replace_schema_metadata({"pandas": json.dumps(told)})
    pq.write_table(table, path, compression="snappy")


def _value(scalar: Any) -> Any:
    if _is_list(scalar.type):
        return None if not scalar.is_valid else scalar.values.to_numpy(zero_copy_only=False)
    return scalar.as_py()


def _array(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values)


def _numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """A column as an array, [N] or [N, k]; None if it is not of numbers, one or as many in every row."""
    if column.null_count:
        return None
    if not _is_list(column.type):
        values = column.to_numpy()
        return None if values.dtype == object else values
    rows = [np.asarray(chunk.flatten()) for chunk in column.chunks]
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.concatenate([np.zeros(0, int), *(np.asarray(chunk.value_lengths()) for chunk in column.chunks)])
        if len(np.unique(lengths)) > 1:
            return None
    values = np.concatenate(rows) if rows else np.zeros(0)
    return None if values.dtype == object else values.reshape(len(column), -1)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


@contextmanager
def _opened(path: Path, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """The file, which has `columns`; what goes wrong with it inside the block is a `UserError`."""
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            if missing := [name for name in columns if name not in there]:
                raise UserError(f"{path}: has no column {missing[0]!r}; it has {', '.join(there)}")
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a parquet table ({reason}); copy or download it again") from None
