"""The report's sections on the tests of steering and pedals."""

from dataclasses import dataclass
from html import escape

from roadcast.evaluation.charts import Series, line_chart
from roadcast.evaluation.report.parts import cell, p_cell, strips, table
from roadcast.evaluation.steering import RealSteering
from roadcast.evaluation.sweep import LEVEL, Sweep
from roadcast.evaluation.video_io import strip


@dataclass(frozen=True)
class Words:
    """What the page says of one kind of sweep."""

    heading: str
    axis: str
    response: str
    why: str
    yes: str
    no: str


STEERING = Words(
    heading="Steering",
    axis="{control}, positive left",
    response="flow to the right, px/frame",
    why="Turning left moves the picture right, so the line must rise.",
    yes="It steers the right way",
    no="It is not shown to steer the right way",
)
PEDALS = Words(
    heading="Pedals",
    axis="{control}",
    response="flow outwards, px/frame",
    why="The faster the car, the faster the picture grows, so the line must rise.",
    yes="It answers to its pedals",
    no="It is not shown to answer to its pedals",
)


def sweep_section(words: Words, test: Sweep | None, note: str, fps: float, after: str = "") -> str:
    """One test with its chart and pictures, or why it was not run; `after` closes the section."""
    body = f"<p>Not run. {escape(note)}</p>" if test is None else _sweep(words, test, fps)
    return f"<section><h2>{words.heading}</h2>{body}{after}</section>"


def _sweep(words: Words, test: Sweep, fps: float) -> str:
    axis = words.axis.format(control=test.control)
    mean, low, high = ([getattr(e, part) for e in test.mean] for part in ("mean", "low", "high"))
    chart = line_chart(
        [*(Series("faint", test.commands, flow) for flow in test.flow), Series("model", test.commands, mean, low, high, marks=True)],
        title=f"{words.heading}: {words.response}", x_label=axis, y_label=words.response, include=(0.0,),
        x_ticks=[float(f"{c:.3g}") for c in test.commands],
    )  # fmt: skip
    rows = [
        (name, cell(effect), p_cell(test.p_value.get(name.replace("-", ">")))) for name, effect in test.effect.items()
    ]
    picks = sorted({round(i * test.frames / 5) for i in range(6)})
    blocks = [
        [(side, strip(list(video[picks])), f"{side} from clip {at}") for side, video in zip(test.sides, context)]
        for at, context in zip(test.contexts, test.shown)
    ]
    within = test.spearman_within
    return (
        f"<p>The same {len(test.contexts)} contexts, the same noise, {test.frames} frames under {len(test.commands)} commands "
        f"({escape(axis)}). {words.why} <b>{words.yes if test.follows else words.no}</b>: {test.ordered:.0%} of contexts have "
        f"{' &gt; '.join(test.sides)}; rank correlation of command and flow {test.spearman:+.2f} over all, {within.mean:+.2f} "
        f"[{within.low:+.2f}, {within.high:+.2f}] within a context. "
        f"The bar is p &lt; {LEVEL} for both steps, measured from frame {test.lag + 1} on.</p>"
        f'<div class="charts"><figure>{chart}<figcaption>Each faint line is one context, the strong one their mean with its 95 % '
        f"interval.</figcaption></figure>{table(('step', 'effect size d<sub>z</sub>', 'p'), rows)}</div>"
        + strips(blocks, [f"{f / fps:.2g} s" for f in picks])
    )


def recorded(real: RealSteering | None, fps: float) -> str:
    """What the recorded drives say of steering; nothing where they say nothing."""
    if real is None:
        return ""
    return (
        f"<p>As a control, the recorded drives themselves: {escape(real.control)} and the horizontal flow of the real video correlate by "
        f"{real.best.mean:+.2f} (95 % [{real.best.low:+.2f}, {real.best.high:+.2f}], {real.clips} clips) when the command leads the "
        f"picture by {real.best_lag} frame{'s' * (real.best_lag != 1)} ({1000 * real.best_lag / fps:.0f} ms).</p>"
    )
