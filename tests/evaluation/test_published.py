"""Published scores say where they were read; presets agree with the rows of their papers; the docs hold the same table."""

import re
from pathlib import Path

import pytest

from roadcast.evaluation.published import PROTOCOLS, PUBLISHED, published_table

PAGE = (Path(__file__).parents[2] / "docs" / "published.md").read_text()
PAPER_OR_PAGE = re.compile(r"arXiv:\d{4}\.\d{5}|https://github\.com/[\w.-]+/[\w.-]+")


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.model}-{row.fvd}")
def test_every_row_has_a_score_and_names_where_it_was_read(row):
    assert PAPER_OR_PAGE.search(row.source)
    assert row.fvd is not None or row.fid is not None
    assert all(score is None or score > 0 for score in (row.fvd, row.fid))
    assert 2020 < row.year < 2030
    assert row.context is None or row.frames is None or row.context < row.frames


def test_no_score_stands_twice():
    keys = [(row.model, row.fvd, row.fid) for row in PUBLISHED]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_preset_is_the_protocol_of_the_rows_with_its_number_of_clips(name):
    preset = PROTOCOLS[name]
    rows = [row for row in PUBLISHED if row.clips == preset.clips]
    assert rows and PAPER_OR_PAGE.search(preset.source)
    for row in rows:
        assert row.frames in (None, preset.frames) and row.context in (None, preset.context)
        assert row.fps in (None, preset.fps)
    assert preset.frames == preset.context + preset.horizon
    assert preset.split == "val" and preset.context >= 1
    assert preset.horizon >= 9, "FVD is of nine imagined frames or more"
    assert str(preset.clips) in name or str(preset.frames) in name


def test_the_page_holds_exactly_the_generated_table():
    rows = [line + "\n" for line in PAGE.splitlines() if line.startswith("|")]
    assert "".join(rows) == published_table(), "write published_table() into docs/published.md"
    assert len({line.count("|") for line in rows}) == 1, "a cell holds a bar"


def test_the_pages_example_differs_by_more_than_two_to_one():
    of_vista = [row.fvd for row in PUBLISHED if row.model == "Vista"]
    assert max(of_vista) > 2 * min(of_vista)
    before_the_table = PAGE.split("\n| model")[0]
    assert all(str(fvd) in before_the_table for fvd in of_vista)


def test_what_is_not_stated_is_an_empty_cell_and_never_a_guess():
    line = next(line for line in published_table().splitlines() if line.startswith("| DriveLaW |"))
    assert line.startswith("| DriveLaW | 81.3 | 4.6 |  |  |  |  |  |  | arXiv:")
    assert "None" not in published_table()
