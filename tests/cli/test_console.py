"""Lines where there is no terminal, and figures in units one reads."""

import pytest

from roadcast.cli import console


def test_plain_progress_tells_the_first_the_last_and_little_between(capsys):
    with console.progress() as show:
        for done in range(1, 101):
            show("train", done, 100, {"loss": 0.5, "step_seconds": 0.25, "other": 1.0})
    assert capsys.readouterr().out.splitlines() == [
        "train: 1 of 100 (1%)  loss 0.5  s/step 0.25",
        "train: 100 of 100 (100%)  loss 0.5  s/step 0.25",
    ]


def test_progress_without_a_total_counts(capsys):
    with console.progress() as show:
        show("frames", 100, None)
    assert capsys.readouterr().out == "frames: 100\n"


def test_bars_on_a_terminal_show_the_figures(monkeypatch, capsys):
    monkeypatch.setattr(console, "out", console.Console(force_terminal=True, width=120))
    with console.progress() as show:
        show("train", 1, 2, {"loss": 0.5})
        show("train", 2, 2, {"loss": 0.25})
    told = capsys.readouterr().out
    assert "2/2" in told
    assert "loss 0.25" in told


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.51, "0.5 s"), (41.4, "41 s"), (425, "7 min 05 s"), (7380, "2 h 03 min")]
)
def test_durations(seconds, text):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (3_140_000, "3.1 MB"), (250_000, "250 kB"), (2e13, "20.0 TB")]
)
def test_sizes(count, text):
    assert console.size(count) == text


def test_table_lines_up(capsys):
    console.show_table([["name", "1", "16"], ["psnr", "20.5", "7"]])
    assert capsys.readouterr().out == "name     1  16\npsnr  20.5   7\n"
