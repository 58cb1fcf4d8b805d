"""A study as one HTML page without any outside resource: its table, a picture, what was changed, and where it was run."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from roadcast.evaluation.charts import Series, line_chart
from roadcast.research.difference import difference
from roadcast.research.forest import Line, forest
from roadcast.research.score import badness, title
from roadcast.research.store import Row
from roadcast.research.study import BASE
from roadcast.research.table import Table, commit, ranked, stands_out

NOTE = (
    "Differences from the base of the same seed: the mean and its 95 % interval by Student's t over seeds, a dot a seed. "
    "Unclear: the interval holds zero. Of twenty intervals about one leaves out zero by chance."
)


def ablation_page(
    name: str, table: Table, by_variant: Mapping[str, Sequence[Row]], scores: Sequence[str], changes: Mapping[str, Sequence[str]]
) -> str:  # fmt: skip
    """The report of an ablation: a table, a chart a score, and every variant's changes."""
    charts = "".join(f"<figure>{chart}</figure>" for s in scores if (chart := differences_chart(by_variant, s)))
    words = "".join(
        f"<dt>{escape(n)}</dt><dd>{escape(', '.join(c) or 'the recipe as it is')}</dd>" for n, c in changes.items()
    )
    sections = [
        f"<section><h2>Differences</h2><p>{NOTE}</p>{html_table(table)}</section>",
        f'<section><h2>Score by score</h2><div class="charts">{charts}</div></section>' if charts else "",
        f'<section><h2>Variants</h2><dl class="words">{words}</dl></section>',
    ]
    return page(f"Ablation {name}", [row for rows in by_variant.values() for row in rows], sections)


def differences_chart(by_variant: Mapping[str, Sequence[Row]], score: str) -> str:
    """Every variant's difference in one score, seed by seed and with its interval; "" where there is none."""
    lines = []
    for name, runs in by_variant.items():
        found = None if name == BASE else difference(by_variant[BASE], runs, score)
        if found is not None:
            base = {row.seed: row.value(score) for row in by_variant[BASE]}
            dots = [d for r in runs if r.seed in base and math.isfinite(d := r.value(score) - base[r.seed])]
            lines.append(Line(name, found.change.mean, found.change.low, found.change.high, dots, found.verdict))
    return forest(lines, title(score)) if lines else ""


def sweep_page(name: str, table: Table, rows: Sequence[Row], score: str, best: Sequence[str]) -> str:
    """The report of a sweep: a table, the score by run and the best so far, and the best point."""
    points = [(int(row.name), row.value(score)) for row in sorted(rows, key=lambda row: int(row.name))]
    points = [(number, value) for number, value in points if math.isfinite(value)]
    reached: list[float] = []
    for _, value in points:
        reached.append(min([*reached[-1:], value], key=lambda v: badness(score, v)))
    numbers = [number for number, _ in points]
    chart = line_chart(
        [
            Series("copy", numbers, [value for _, value in points], marks=True),
            Series("model", numbers, reached),
        ],
        title=f"{title(score)} by run", x_label="run", y_label=title(score), x_ticks=numbers,
    )  # fmt: skip
    keys = '<p class="keys"><span class="key copy">run</span><span class="key model">best so far</span></p>'
    sections = [
        f"<section><h2>Runs</h2><p>The best first; scores with half their 95 % interval over clips.</p>{html_table(table)}</section>",
        f'<section><h2>Score by run</h2>{keys}<div class="charts"><figure>{chart}</figure></div></section>',
        f"<section><h2>The best</h2><pre>{escape(chr(10).join(best))}</pre></section>",
    ]
    return page(f"Sweep {name}", ranked(rows, score), sections)


def page(heading: str, rows: Sequence[Row], sections: Sequence[str]) -> str:
    """The page around them, with what all runs share at its head."""
    style = files("roadcast.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    told = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts(rows).items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(heading)}</title>\n<style>\n{style}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(heading)}</h1><dl>{told}</dl></header>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def facts(rows: Sequence[Row]) -> dict[str, str]:
    """What made the runs: how many, code, machines, data, and how they were judged."""
    protocol = rows[0].protocol
    machines = sorted({f"{e['cores']} cores, {e['processor']}" for row in rows for e in [row.record["environment"]]})
    return {
        "runs": str(len(rows)),
        "code": ", ".join(sorted({commit(row) for row in rows})),
        "machine": "; ".join(machines),
        "data": f"reel {protocol['dataset'][:12]}, split {protocol['split']}, {len(protocol['clips'])} clips",
        "rollouts": f"{protocol['context']} real frames, {protocol['horizon']} imagined, at {protocol['fps']:g} a second",
    }


def html_table(table: Table) -> str:
    """A table as HTML, that scrolls where it is too wide."""
    head, *rows = table
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr><th>{escape(first)}</th>{''.join(map(html_cell, cells))}</tr>" for first, *cells in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def html_cell(cell: str) -> str:
    """One cell, bold where it ends in a verdict."""
    return f"<td><b>{escape(cell)}</b></td>" if stands_out(cell) else f"<td>{escape(cell)}</td>"
