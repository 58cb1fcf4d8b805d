"""The report of a run: one HTML page with the curves of every stage, what happened, and what it was made with."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.evaluation.charts import Series, line_chart, smooth
from roadcast.files import write_file
from roadcast.training.metrics import read_log
from roadcast.training.record import read_record

NAME = "report.html"
MOST_POINTS = 400
SPEED = {
    "samples_per_s": ("samples/s", "{:,.4g}"),
    "frames_per_s": ("frames/s", "{:,.0f}"),
    "tokens_per_s": ("tokens/s", "{:,.0f}"),
    "mfu": ("MFU", "{:.1%}"),
    "step_p50": ("step, median", "{:.3g} s"),
    "step_p99": ("99th percentile", "{:.3g} s"),
    "data_wait": ("waiting for data", "{:.1%}"),
    "memory_share": ("memory used", "{:.0%}"),
    "gpu_utilisation": ("GPU busy", "{:.0%}"),
}
"""Figures of the log that are told as medians over its rows: what they are called, and how they are written."""


def write_report(folder: Path) -> Path:
    """Write RUN/report.html of the run in `folder`, from the logs of the stages that have any; returns its path."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    sections = [_stage(folder / name) for name in config["train"] if (folder / name / "log.jsonl").exists()]
    style = files("roadcast.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    title = f"Training of {folder.resolve().name}"
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1>{_facts(read_record(folder) or {})}</header>\n"
        + "\n".join(sections)
        + f"<section><h2>Configuration</h2><details><summary>All of it</summary><pre>{escape(json.dumps(config, indent=1))}</pre>"
        "</details></section></main></body></html>\n"
    )
    write_file(folder / NAME, lambda path: path.write_text(page, encoding="utf-8"))
    return folder / NAME


def _facts(record: dict[str, Any]) -> str:
    if not record:
        return ""
    environment, git = record["environment"], record["git"]
    code = f"roadcast {record['roadcast']}"
    if git is not None:
        code += f", commit {git['commit'][:12]}" + (
            f" and {len(git['changed'])} changed files" if git["changed"] else ""
        )
    machine = ", ".join(environment.get("gpus", [])) or f"{environment['cores']} cores, {environment['processor']}"
    facts = {
        "code": code,
        "torch": environment["libraries"].get("torch", "?"),
        "machine": f"{machine}; {record['processes']} process{'es' if record['processes'] > 1 else ''}",
        "precision": record["precision"],
        "seed": str(record["seed"]),
        "data": ", ".join(f"{reel['path']} ({reel['fingerprint'][:12]})" for reel in record["reels"]),
    }
    return "<dl>" + "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()) + "</dl>"


def _stage(folder: Path) -> str:
    rows = read_log(folder / "log.jsonl")
    charts = [
        _chart(rows, {"loss": "model", "val_loss": "real"}, "loss", noisy=True),
        _chart(rows, {"grad_norm": "model"}, "gradient norm", noisy=True),
        _chart(
            [{"step": r["step"], "lr": 1e3 * r["lr"]} for r in rows if "lr" in r],
            {"lr": "model"},
            "learning rate, thousandths",
        ),
        _chart(rows, {"samples_per_s": "model"}, "samples a second"),
    ]
    shown = "".join(chart for chart in charts if chart)
    keys = '<p class="keys"><span class="key model">training</span><span class="key real">held out</span></p>'
    return (
        f"<section><h2>{escape(folder.name)}</h2>{_tiles(rows)}{keys}<div class='charts'>{shown}</div>"
        f"{_film(folder)}{_events(read_log(folder / 'events.jsonl'))}</section>"
    )


def _tiles(rows: list[dict[str, Any]]) -> str:
    figures = {"steps": f"{rows[-1]['step']:,}"} if rows else {}
    for key, name in (("loss", "loss"), ("val_loss", "held-out loss")):
        values = [row[key] for row in rows if key in row]
        if values:
            figures[name] = f"{values[-1]:.4g}"
    for key, (name, form) in SPEED.items():
        values = [row[key] for row in rows if key in row]
        if values:
            figures[name] = form.format(float(np.median(values)))
    for key, name in (("skipped", "steps skipped"), ("rollbacks", "rollbacks"), ("cleanups", "memory clean-ups")):
        values = [row[key] for row in rows if row.get(key)]
        if values:
            figures[name] = f"{values[-1]:g}"
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in figures.items())
    return f'<div class="tiles">{tiles}</div>'


def _chart(rows: list[dict[str, Any]], styles: dict[str, str], label: str, noisy: bool = False) -> str:
    """Curves of some figures over the steps; noisy ones are smoothed, on a logarithmic axis where they span more than a factor of five."""
    curves = {}
    for key in styles:
        points = [(row["step"], row[key]) for row in rows if math.isfinite(row.get(key, math.nan))]
        if len(points) >= 2:
            curves[key] = np.array(points, dtype=np.float64).T
    if not curves:
        return ""
    every = [y for _, y in curves.values()]
    log_y = noisy and min(y.min() for y in every) > 0 and max(y.max() for y in every) > 5 * min(y.min() for y in every)
    lines = []
    for key, (x, y) in curves.items():
        thin = slice(None, None, -(-len(x) // MOST_POINTS))
        if noisy and len(x) > 50:
            lines.append(Series("faint", x[thin].tolist(), y[thin].tolist()))
            y = smooth(y)
        lines.append(Series(styles[key], x[thin].tolist(), y[thin].tolist()))
    svg = line_chart(lines, title=label, x_label="step", y_label=label, log_y=bool(log_y))
    return f"<figure>{svg}<figcaption>{label}</figcaption></figure>"


def _film(folder: Path) -> str:
    """The last film's strip, real above and made below, with a link to the film."""
    strips = sorted((folder / "samples").glob("*.png"))
    if not strips:
        return ""
    strip = strips[-1]
    data = base64.b64encode(strip.read_bytes()).decode("ascii")
    film = f"{folder.name}/samples/{strip.with_suffix('.mp4').name}"
    return (
        f"<h3>Recorded above, {escape(strip.stem.partition('-')[0])} below</h3>"
        f'<div class="scroll"><img alt="frames of a held-out recording" src="data:image/png;base64,{data}"></div>'
        f'<p><small><a href="{escape(film)}">{escape(film)}</a></small></p>'
    )


def _events(events: Sequence[dict[str, Any]]) -> str:
    if not events:
        return ""
    cell: Callable[[dict[str, Any], str], str] = lambda event, key: escape(str(event[key]))  # noqa: E731
    rows = "".join(
        f"<tr><th>{cell(event, 'step')}</th><td>{cell(event, 'kind')}</td><td class='text'>{cell(event, 'text')}</td>"
        f"<td>{cell(event, 'time')}</td></tr>"
        for event in events
    )
    head = "<thead><tr><th>step</th><th>kind</th><th>what happened</th><th>when</th></tr></thead>"
    return f'<h3>What happened</h3><div class="scroll"><table class="events">{head}<tbody>{rows}</tbody></table></div>'
