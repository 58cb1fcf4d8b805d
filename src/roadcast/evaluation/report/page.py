"""The report: one HTML page that holds everything it shows, and the same table as Markdown."""

import json
import math
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from roadcast.evaluation.charts import Series, line_chart, smooth
from roadcast.evaluation.metrics.catalogue import LIKENESS, METRICS, Metric
from roadcast.evaluation.metrics.drift import COLLAPSES
from roadcast.evaluation.metrics.floors import SYSTEMS
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.pictures import Shown, animation_frames, strip_rows
from roadcast.evaluation.protocol import Protocol
from roadcast.evaluation.report.actions import action_section
from roadcast.evaluation.report.parts import embed, strips
from roadcast.evaluation.report.sets import distribution_section
from roadcast.evaluation.report.sweeps import PEDALS, STEERING, recorded, sweep_section
from roadcast.evaluation.video_io import encode_animation

if TYPE_CHECKING:
    from roadcast.evaluation.result import Result

NAMES = {"model": "model", "copy": "last frame repeated", "reconstruction": "tokenizer alone", "real": "real video"}
MAX_POINTS = 400
EVENLY = (
    "The first column is the last real frame the model saw. The tokenizer row is the true frames encoded and decoded: the best "
    "picture any rollout could draw. Clips are taken evenly from the list, not chosen."
)
WORST = (
    "The clips that the model missed by most, the worst first: by PSNR over the whole horizon, below what the tokenizer alone reaches "
    "on the same frames."
)


def html_report(result: "Result", *, title: str, about: dict[str, str], logs: dict[str, list[dict]]) -> str:
    """The evaluation as one HTML page without any outside resource; arguments as `Result.save`."""
    fps = result.protocol.fps
    sections = [
        _header(result, title, about),
        _clips("Real against imagined", EVENLY, result.shown, result.protocol),
        _animation(result),
        _table(result),
        distribution_section(result),
        _drift(result),
        sweep_section(STEERING, result.steering, result.steering_note, fps, recorded(result.real_steering, fps)),
        sweep_section(PEDALS, result.pedals, result.pedals_note, fps),
        action_section(result.actions, fps) if result.actions else "",
        _clips("Where it fails", WORST, result.worst, result.protocol),
        _losses(logs),
        _protocol(result),
    ]
    style = files("roadcast.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def markdown_table(result: "Result") -> str:
    """The metrics table as Markdown: a row a metric and system, a column a horizon, mean +- half the 95 % interval."""
    horizons = result.protocol.horizons
    lines = [
        "| metric | | " + " | ".join(f"{h} ({h / result.protocol.fps:.2g} s)" for h in horizons) + " |",
        "|---|---|" + "---:|" * len(horizons),
    ]
    for metric in measured(result):
        name = _heading(metric)
        for system in SYSTEMS:
            cells = [_mean_and_half(result.metrics[metric.name][system], h, metric.digits) for h in horizons]
            lines.append(f"| {name} | {row_name(metric, system)} | " + " | ".join(cells) + " |")
            name = ""
        if metric.name in LIKENESS:
            cells = [_mean_and_half(result.gain[metric.name], h, metric.digits, sign=True) for h in horizons]
            lines.append("| | model minus last frame | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measured(result: "Result") -> list[Metric]:
    """The metrics that this evaluation has, in the order of the catalogue."""
    return [METRICS[name] for name in result.metrics]


def row_name(metric: Metric, system: str) -> str:
    """What a row of the metrics table is called; real video is another clip where likeness is measured."""
    return "another real clip" if system == "real" and metric.name in LIKENESS else NAMES[system]


def _header(result: "Result", title: str, about: dict[str, str]) -> str:
    p, h = result.protocol, result.protocol.horizons[-1]
    gain, steering = result.gain["psnr"], result.steering
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in about.items())
    verdict = "not run" if steering is None else "yes" if steering.follows else "not shown"
    collapsed = max(result.collapse["model"].values())
    numbers = [
        (f"{result.metrics['psnr']['model'].mean[h - 1]:.2f} dB", f"PSNR after {h} frames ({h / p.fps:.2g} s)"),
        (f"{gain.mean[h - 1]:+.2f} dB", f"over repeating the last frame, {_span(gain, h, 2)}"),
        (f"{result.metrics['motion']['model'].mean[h - 1]:.2f}", "of real motion at that horizon"),
        (verdict, "steers the right way"),
        (f"{collapsed:.0%}", "of rollouts collapsed"),
        (f"{result.seconds['imagined_frames_per_second']:.0f}", "imagined frames a second, all clips together"),
    ]
    tiles = "".join(f'<div class="tile"><b>{escape(v)}</b><span>{escape(t)}</span></div>' for v, t in numbers)
    return (
        f"<header><h1>{escape(title)}</h1><p>{len(p.clips)} clips from {p.recordings} "
        f"recording{'s' * (p.recordings != 1)} of split <b>{escape(p.split)}</b>; {p.context} real frames of context, "
        f"{p.horizon} frames imagined at {p.fps:g} a second, {p.height}x{p.width} pixels.</p>"
        f'<div class="tiles">{tiles}</div><dl>{facts}</dl></header>'
    )


def _clips(heading: str, text: str, shown: Shown, p: Protocol) -> str:
    """Strips of clips under a heading."""
    blocks = [
        [(name, picture, f"{name} frames of clip {at}") for name, picture in rows.items()]
        for at, rows in zip(shown.clips, strip_rows(shown, p.horizons))
    ]
    labels = ["context", *(f"{h / p.fps:.2g} s" for h in p.horizons)]
    return f"<section><h2>{heading}</h2><p>{text}</p>{strips(blocks, labels)}</section>"


def _animation(result: "Result") -> str:
    data = encode_animation(animation_frames(result.shown), result.protocol.fps)
    return (
        '<section><h2>Side by side</h2><figure class="pair"><div><span>real</span><span>imagined</span></div>'
        f"{embed(data, 'webp', 'real and imagined video side by side')}"
        "<figcaption>Real time. Both sides start from the same real frame; the bar fills as the rollout goes on."
        "</figcaption></figure></section>"
    )


def _table(result: "Result") -> str:
    horizons = result.protocol.horizons
    head = "".join(f"<th>{h}<small>{h / result.protocol.fps:.2g} s</small></th>" for h in horizons)
    body = []
    for metric in measured(result):
        span = f"{escape(_heading(metric))} <small>{escape(metric.better)}</small>"
        body.append(f'<tr class="group"><th colspan="{len(horizons) + 1}">{span}</th></tr>')
        for system in SYSTEMS:
            body.append(
                _row(row_name(metric, system), result.metrics[metric.name][system], horizons, metric.digits, system)
            )
        if metric.name in LIKENESS:
            gain = result.gain[metric.name]
            body.append(_row("model minus last frame", gain, horizons, metric.digits, "gain", sign=True))
    meanings = "".join(f"<dt>{escape(m.title)}</dt><dd>{escape(m.meaning)}</dd>" for m in measured(result))
    floors = "".join(f"<dt>{escape(NAMES[s])}</dt><dd>{escape(text)}</dd>" for s, text in SYSTEMS.items())
    return (
        "<section><h2>Scores</h2><p>Mean over clips at each horizon, in frames, with its 95 % bootstrap interval. "
        "A score means little alone: read it against the floors.</p>"
        f'<div class="scroll"><table><thead><tr><th>frames ahead</th>{head}</tr></thead><tbody>{"".join(body)}</tbody>'
        "</table></div><details><summary>What the rows mean</summary>"
        f'<dl class="words">{meanings}{floors}</dl></details></section>'
    )


def _row(name: str, estimate: Estimate, horizons: tuple[int, ...], digits: int, style: str, sign: bool = False) -> str:
    cells = "".join(
        f"<td>{estimate.mean[h - 1]:{'+' if sign else ''}.{digits}f}<small>{_span(estimate, h, digits)}</small></td>"
        for h in horizons
    )
    return f'<tr class="{style}"><th>{escape(name)}</th>{cells}</tr>'


def _drift(result: "Result") -> str:
    x = list(range(1, result.protocol.horizon + 1))
    figures = []
    for metric in measured(result):
        lines = [_curve(system, x, result.metrics[metric.name][system]) for system in reversed(SYSTEMS)]
        slope = result.drift[metric.name]["model"]
        title = f"{metric.title} against horizon"
        chart = line_chart(lines, title=title, x_label="frames ahead", y_label=metric.unit or metric.title)
        caption = f"{metric.title}: model {slope.mean:+.3g} a second, 95 % [{slope.low:+.3g}, {slope.high:+.3g}]"
        figures.append(f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>")
    rows = "".join(
        f"<tr><th>{kind}<small>{escape(text)}</small></th>"
        + "".join(f"<td>{result.collapse[s][kind]:.0%}</td>" for s in ("model", "copy"))
        + "</tr>"
        for kind, text in COLLAPSES.items()
    )
    return (
        f"<section><h2>Drift</h2><p>Every frame of the rollout, with the least-squares slope.</p>"
        f'<p class="keys">{_legend(SYSTEMS)}</p>'
        f'<div class="charts">{"".join(figures)}</div><h3>Collapse</h3><p>Share of rollouts whose last quarter is, by the real frames:</p>'
        '<div class="scroll"><table class="collapse"><thead><tr><th></th><th>model</th><th>last frame repeated</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _losses(logs: dict[str, list[dict]]) -> str:
    figures = []
    for stage, rows in logs.items():
        points = [(r["step"], r["loss"]) for r in rows if "step" in r and math.isfinite(r.get("loss") or math.nan)]
        if len(points) < 2:
            continue
        x, y = np.array(points, dtype=np.float64).T
        every = -(-len(x) // MAX_POINTS)
        mean = smooth(y)
        log_y = bool(y.min() > 0 and y.max() > 5 * y.min())
        lines = [Series("faint", x[::every], y[::every]), Series("model", x[::every], mean[::every])]
        chart = line_chart(lines, title=f"Loss of stage {stage}", x_label="step", y_label="loss", log_y=log_y)
        caption = f"{escape(stage)}: {mean[-1]:.4g} at step {int(x[-1]):,}"
        figures.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
    if not figures:
        return ""
    return f'<section><h2>Training</h2><div class="charts">{"".join(figures)}</div></section>'


def _protocol(result: "Result") -> str:
    text = json.dumps(result.protocol.to_dict(), indent=1)
    return (
        "<section><h2>Protocol</h2><p>Two scores compare only under one protocol. Intervals resample clips, and clips "
        "of one recording resemble each other: they say nothing of roads that are not in this split.</p>"
        f"<details><summary>The full protocol</summary><pre>{escape(text)}</pre></details></section>"
    )


def _legend(systems: dict[str, str]) -> str:
    return "".join(f'<span class="key {system}">{escape(NAMES[system])}</span>' for system in systems)


def _curve(system: str, x: list[int], estimate: Estimate) -> Series:
    return Series(system, x, estimate.mean, estimate.low, estimate.high)


def _heading(metric: Metric) -> str:
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def _mean_and_half(estimate: Estimate, horizon: int, digits: int, sign: bool = False) -> str:
    half = (estimate.high[horizon - 1] - estimate.low[horizon - 1]) / 2
    return f"{estimate.mean[horizon - 1]:{'+' if sign else ''}.{digits}f} +- {half:.{digits}f}"


def _span(estimate: Estimate, horizon: int, digits: int) -> str:
    return f"[{estimate.low[horizon - 1]:.{digits}f}, {estimate.high[horizon - 1]:.{digits}f}]"
