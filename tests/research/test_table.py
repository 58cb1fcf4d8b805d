"""Finished runs as tables, boards and pages."""

import re

import pytest

from roadcast.errors import UserError
from roadcast.research.report import ablation_page, differences_chart, sweep_page
from roadcast.research.study import Range
from roadcast.research.table import ablation_table, leaderboards, markdown, sweep_table
from rows import row

RUNS = {
    "base": [row("base", seed, 20 + seed) for seed in range(3)],
    "good": [row("good", seed, 21 + seed + 0.1 * seed) for seed in range(3)],
    "half done": [row("half done", 0, 20)],
    "failed": [],
}
SPACE = {"train.dynamics.lr": Range(1e-4, 1e-2, log=True), "dynamics.depth": Range(2, 6, whole=True)}
POINTS = [
    row(str(n), 0, 20 + n % 3, changes=[f"train.dynamics.lr=0.00{n + 1}", f"dynamics.depth={n + 2}"]) for n in range(4)
]


def test_an_ablations_table_tells_differences_seeds_and_cost():
    head, *rows = ablation_table(RUNS, ["psnr@4", "psnr@8"])
    assert head == ["less the base", "seeds", "PSNR at 4 (dB)", "PSNR at 8 (dB)", "parameters", "training", "a frame"]
    cells = {first: rest for first, *rest in rows}
    assert cells["base"] == ["3", "21.00 (1.00)", "21.00 (1.00)", "3.00 M", "60 s", "20.0 ms"]
    assert cells["good"][:2] == ["3", "+1.10 +- 0.25 better"]
    assert cells["half done"][:2] == ["1", "+0.00, one seed"]
    assert cells["last frame repeated"] == ["", "15.00", "", "", "", ""]
    assert cells["failed"] == ["0", "", "", "", "", ""]


def test_a_sweeps_table_begins_with_the_best():
    _, *rows = sweep_table(POINTS, SPACE, ["psnr@4"])
    assert rows[0][:4] == ["2", "0.003", "4", "22.00 +- 0.50"]
    assert [cells[0] for cells in rows] == ["2", "1", "0", "3", "last frame repeated"]


def test_a_leaderboard_ranks_within_a_protocol_alone():
    others = [row("elsewhere", 0, 99, protocol={"dataset": "e" * 40})]
    boards = leaderboards([*RUNS["base"], *others, *RUNS["good"]], "psnr")
    assert [one.protocol["dataset"][0] for one, _ in boards] == ["d", "e"]
    (_, first), (_, second) = boards
    assert first[0][3] == "PSNR at 8 (dB)"
    assert [cells[1:3] for cells in first[1:3]] == [["study: good", "2"], ["study: good", "1"]]
    assert len(first) == 7 and len(second) == 2 and second[1][3] == "99.00 +- 0.50"
    with pytest.raises(UserError, match="'psnr@9' is no score; write NAME@FRAMES"):
        leaderboards(RUNS["base"], "psnr@9")


def test_markdown_has_verdicts_in_bold():
    lines = markdown([["", "score"], ["a", "+1.00 +- 0.25 better"], ["b", "+0.00 +- 0.25 unclear"]]).splitlines()
    assert lines == [
        "|  | score |",
        "| --- | ---: |",
        "| a | **+1.00 +- 0.25 better** |",
        "| b | +0.00 +- 0.25 unclear |",
    ]


def test_pages_hold_all_they_show():
    table = ablation_table(RUNS, ["psnr@4"])
    changes = {"base": (), "good": ("dynamics.depth=<3>",), "half done": (), "failed": ()}
    page = ablation_page("study", table, RUNS, ["psnr@4"], changes)
    assert "dynamics.depth=&lt;3&gt;" in page and "+1.10 +- 0.25 better" in page
    swept = sweep_page("study", sweep_table(POINTS, SPACE, ["psnr@4"]), POINTS, "psnr@4", POINTS[2].changes)
    assert "train.dynamics.lr=0.003" in swept
    for html in (page, swept):
        assert html.count("<svg") == 1 and html.startswith("<!doctype html>")
        assert not re.search(r"(src|href)=|url\(|https?:", html)


def test_a_difference_to_the_right_of_zero_is_drawn_there():
    drawn = differences_chart(RUNS, "psnr@4")
    zero = float(re.findall(r'class="line copy" x1="([\d.]+)"', drawn)[0])
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]
    assert len(dots) == 4 and all(x > zero for x in dots[:3]) and dots[3] == pytest.approx(zero)
    assert "reconstruction" in drawn and differences_chart({"base": RUNS["base"]}, "psnr@4") == ""
