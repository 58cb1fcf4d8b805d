"""Finished runs as tables: rows of cells, for the terminal, Markdown and HTML alike."""

from collections.abc import Mapping, Sequence

import numpy as np

from roadcast.evaluation.compare import settled
from roadcast.evaluation.sweep import MIN_CONTEXTS
from roadcast.research.difference import Difference, difference
from roadcast.research.score import STEERING, badness, check_score, digits, title
from roadcast.research.space import point_of
from roadcast.research.store import Row
from roadcast.research.study import BASE, Range

Table = list[list[str]]
"""The head, then the rows."""
FLOOR = "last frame repeated"


def ablation_table(by_variant: Mapping[str, Sequence[Row]], scores: Sequence[str]) -> Table:
    """The base's mean and standard deviation over its seeds, the floor, and every variant's difference from the base, with a verdict."""
    rows = [["less the base", "seeds", *map(title, scores), "parameters", "training", "a frame"]]
    for name, runs in by_variant.items():
        if not runs:
            rows.append([name, "0", *["" for _ in scores], "", "", ""])
        elif name == BASE:
            rows.append([name, str(len(runs)), *(spread(runs, score) for score in scores), *cost(runs)])
            rows.append([FLOOR, "", *floor(runs[0], scores), "", "", ""])
        else:
            found = [difference(by_variant[BASE], runs, score) for score in scores]
            seeds = max((d.seeds for d in found if d), default=0)
            rows.append([name, str(seeds), *map(told, found, scores), *cost(runs)])
    return rows


def told(found: Difference | None, score: str) -> str:
    """A difference, half its interval and the verdict; of one seed the difference alone, and a dash of none."""
    if found is None:
        return "-"
    mean = f"{found.change.mean:+.{digits(score)}f}"
    return f"{mean} +- {found.half:.{digits(score)}f} {found.verdict}" if found.seeds > 1 else f"{mean}, one seed"


def spread(runs: Sequence[Row], score: str) -> str:
    """Mean and, of more than one, standard deviation."""
    values = np.array([value for row in runs if np.isfinite(value := row.value(score))])
    if not len(values):
        return "-"
    sd = f" ({values.std(ddof=1):.{digits(score)}f})" if len(values) > 1 else ""
    return f"{values.mean():.{digits(score)}f}{sd}"


def cost(runs: Sequence[Row]) -> list[str]:
    """What a variant costs, means over its runs: parameters, seconds of training, milliseconds a frame."""
    parameters = sum(runs[0].parameters.values())
    train, frame = (float(np.mean([row.seconds[what] for row in runs])) for what in ("train", "frame"))
    return [f"{parameters / 1e6:.2f} M" if parameters else "-", f"{train:.0f} s", f"{1000 * frame:.1f} ms"]


def sweep_table(rows: Sequence[Row], space: Mapping[str, Range], scores: Sequence[str]) -> Table:
    """The best run first: its point, and its scores, each with half the interval over clips."""
    names = [name.rpartition(".")[2] for name in space]
    table = [["run", *names, *map(title, scores), "parameters", "training", "a frame"]]
    for row in ranked(rows, scores[0]):
        point = [str(value) for value in point_of(row.changes, space).values()]
        table.append([row.name, *point, *(with_half(row, score) for score in scores), *cost([row])])
    if rows:
        table.append([FLOOR, *["" for _ in space], *floor(rows[0], scores), "", "", ""])
    return table


def floor(row: Row, scores: Sequence[str]) -> list[str]:
    """What no prediction at all scores, by the protocol of a run."""
    return [f"{row.floor[score][0]:.{digits(score)}f}" if score in row.floor else "" for score in scores]


def leaderboards(rows: Sequence[Row], score: str) -> list[tuple[Row, Table]]:
    """A board for every protocol, the one with the most rows first, with a row that was measured by it.

    score  a name with frames, or without: then at the protocol's last horizon
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(repr(sorted(settled(row.protocol).items())), []).append(row)
    boards = []
    for group in sorted(groups.values(), key=len, reverse=True):
        horizons = group[0].protocol["horizons"]
        shown = score if "@" in score or score == STEERING else f"{score}@{horizons[-1]}"
        check_score(shown, horizons[-1], MIN_CONTEXTS, "leaderboard")
        table = [["", "run", "seed", title(shown), "parameters", "a frame", "commit", "finished"]]
        for place, row in enumerate(ranked(group, shown), 1):
            parameters, _, frame = cost([row])
            table.append([
                str(place), f"{row.study}: {row.name}" if row.study else row.name, str(row.seed), with_half(row, shown),
                parameters, frame, commit(row), row.finished[:16].replace("T", " "),
            ])  # fmt: skip
        boards.append((group[0], table))
    return boards


def ranked(rows: Sequence[Row], score: str) -> list[Row]:
    """The best first; those without the score last."""
    return sorted(rows, key=lambda row: (badness(score, row.value(score)), row.name))


def with_half(row: Row, score: str) -> str:
    """A run's score and half its 95 % interval over clips."""
    if score not in row.scores:
        return "-"
    mean, low, high = row.scores[score]
    return f"{mean:.{digits(score)}f} +- {(high - low) / 2:.{digits(score)}f}"


def commit(row: Row) -> str:
    """The short hash of the code that made it, with a + where files were changed; - where it is unknown."""
    git = row.record.get("git")
    return "-" if git is None else git["commit"][:7] + ("+" if git["changed"] else "")


def markdown(table: Table) -> str:
    """A table as Markdown, the first column read left and the others right, and verdicts in bold."""
    head, *rows = table
    lines = [
        head,
        ["---", *["---:" for _ in head[1:]]],
        *([f"**{cell}**" if stands_out(cell) else cell for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def stands_out(cell: str) -> bool:
    """Whether a cell ends in a verdict."""
    return cell.endswith((" better", " worse"))
