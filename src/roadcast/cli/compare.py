"""`roadcast compare`."""

from pathlib import Path

from roadcast.cli.console import say, show_table


def compare(a: Path, b: Path, /) -> None:
    """Hold one evaluation against another, clip by clip, and tell which is better where that can be told.

    Examples:
      roadcast compare runs/mine/evaluation runs/other/evaluation

    Scores of different protocols (reel, split, clips, size, rate, horizon, versions of metrics) have no order: they are
    refused, with the field that differs. Differences are B minus A, paired by clip, with 95 % bootstrap intervals.

    Args:
        a: A folder that `roadcast evaluate --out` made.
        b: Another.
    """
    from roadcast.evaluation.compare import Evaluation, compare
    from roadcast.evaluation.metrics.catalogue import METRICS

    found = compare(Evaluation.load(a), Evaluation.load(b))
    rows = [["metric", "frames ahead", "A", "B", "B - A", "95 %", "better"]]
    for d in found:
        digits = METRICS[d.metric].digits
        interval = f"[{d.change.low:+.{digits}f}, {d.change.high:+.{digits}f}]"
        values = [f"{value:.{digits}f}" for value in (d.a, d.b)]
        rows.append(
            [METRICS[d.metric].title, str(d.horizon), *values, f"{d.change.mean:+.{digits}f}", interval, d.better]
        )
    say(f"A  {a}\nB  {b}")
    show_table(rows)
    wins = {name: sum(d.better == name for d in found) for name in ("A", "B")}
    say(f"A is better in {wins['A']} of {len(found)} cells, B in {wins['B']}; in the rest it cannot be told")
