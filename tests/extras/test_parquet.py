"""Parquet tables: what is written is read back, and what is none is named."""

import numpy as np
import pytest

from roadcast.errors import UserError

pytest.importorskip("pyarrow")

from roadcast.extras.parquet import column_names, read_arrays, read_columns, read_rows, write_table


@pytest.fixture
def table(tmp_path):
    columns = {"n": np.arange(40), "pair": np.arange(80, dtype=np.float32).reshape(40, 2), "words": [["a"]] * 40}
    write_table(tmp_path / "t.parquet", columns)
    return tmp_path / "t.parquet"


def test_columns_come_back_as_arrays_or_as_lists(table):
    assert column_names(table) == ["n", "pair", "words"]
    arrays = read_arrays(table, ["n", "pair"])
    assert arrays["pair"].dtype == np.float32 and arrays["pair"].shape == (40, 2)
    np.testing.assert_array_equal(arrays["pair"].ravel(), np.arange(80))
    np.testing.assert_array_equal(arrays["n"], np.arange(40))
    assert read_columns(table, ["words"])["words"][39] == ["a"]


def test_rows_come_in_order(table):
    rows = list(read_rows(table, ["n", "pair"]))
    assert [row["n"] for row in rows] == list(range(40))
    np.testing.assert_array_equal(rows[39]["pair"], [78, 79])


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0, 3.0]], [[1.0], None, [2.0]], ["a", "b", "c"], [1.0, None, 2.0]])
def test_columns_that_are_no_arrays_are_refused(tmp_path, rows):
    write_table(tmp_path / "t.parquet", {"x": rows})
    with pytest.raises(UserError, match=r"t.parquet: column 'x' is not of numbers"):
        read_arrays(tmp_path / "t.parquet", ["x"])


def test_what_is_missing_or_damaged_is_named(table):
    for read in (read_columns, read_arrays, lambda *given: list(read_rows(*given))):
        with pytest.raises(UserError, match=r"t.parquet: has no column 'speed'; it has n, pair, words"):
            read(table, ["n", "speed"])
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"t.parquet: cannot be read as a parquet table"):
        column_names(table)
    table.unlink()
    with pytest.raises(UserError, match=r"t.parquet: cannot be read as a parquet table"):
        list(read_rows(table, ["n"]))
