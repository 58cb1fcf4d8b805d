import re
from html.parser import HTMLParser

import pytest

from roadcast.evaluation.charts import Series, line_chart, ticks
from roadcast.evaluation.report.page import html_report, markdown_table
from roadcast.evaluation.runner import evaluate

SMALL = {"split": "val", "clips": 7, "context": 4, "horizon": 8, "batch": 4}
VOID = {"meta", "img", "line", "polyline", "polygon", "circle"}  # never closed, or closed in themselves


class Balance(HTMLParser):
    """Fails on a tag that is closed out of turn."""

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(reel, worlds):
    result = evaluate(worlds["turning"](gain=4.0), reel, **SMALL)
    logs = {"dynamics": [{"step": s, "loss": 1 / (s + 1)} for s in range(1000)] + [{"step": 1000, "note": "done"}]}
    page = html_report(result, title="Turn <left>", about={"model": "fake & small"}, logs=logs)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.sources
    assert all(source.startswith("data:image/") for source in parser.sources)
    assert not re.search(r"https?://|@import|url\(|<script", page)
    assert "Turn &lt;left&gt;" in page
    assert "fake &amp; small" in page
    for heading in (
        "Real against imagined",
        "Side by side",
        "Scores",
        "Drift",
        "Steering",
        "Pedals",
        "Where it fails",
        "Training",
        "Protocol",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "It steers the right way" in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().split()


def test_what_is_missing_is_said_or_left_out(reel, worlds):
    world = worlds["frozen"]()
    world.actions = ("throttle",)
    page = html_report(evaluate(world, reel, **SMALL), title="Still", about={}, logs={"tokenizer": []})
    assert "Not run. The model takes no steering command" in page
    assert "<h2>Training</h2>" not in page


def test_a_rollout_of_one_frame_still_has_a_report(reel, worlds, tmp_path):
    result = evaluate(worlds["turning"](gain=1.0), reel, **{**SMALL, "horizon": 1, "context": 1})
    assert result.save(tmp_path).stat().st_size > 10_000


def test_markdown_holds_the_numbers_of_the_result(reel, worlds):
    result = evaluate(worlds["knowing"](reel), reel, **SMALL)
    lines = markdown_table(result).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0] == "| metric | | 1 (0.1 s) | 2 (0.2 s) | 4 (0.4 s) | 8 (0.8 s) |"
    assert lines[2].startswith("| PSNR (dB) | model | 100.00 +- 0.00 |")
    copy = result.metrics["psnr"]["copy"]
    half = (copy.high[7] - copy.low[7]) / 2
    assert lines[3].endswith(f"| {copy.mean[7]:.2f} +- {half:.2f} |")
    assert len(lines) == 2 + len(result.metrics) * 4 + 3


def test_ticks_are_round_and_inside():
    assert ticks(0.03, 1.02, 5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-3, 14, 5) == [0, 5, 10]


def test_a_chart_puts_large_values_above_small_ones_and_takes_a_flat_line():
    chart = line_chart(
        [Series("model", [0, 1, 2], [1.0, 10.0, 100.0])], title="t", x_label="x", y_label="y", log_y=True
    )
    points = [tuple(map(float, p.split(","))) for p in re.search(r'polyline[^>]*points="([^"]*)"', chart)[1].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert "polyline" in line_chart([Series("copy", [1], [5.0])], title="t", x_label="x", y_label="y")
