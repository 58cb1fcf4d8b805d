"""The report's sections on action fidelity: what is read back from imagined video, and the pedals."""

from collections.abc import Iterable, Sequence
from html import escape

from roadcast.evaluation.actions import READ, ActionFidelity
from roadcast.evaluation.charts import Series, line_chart
from roadcast.evaluation.counterfactual import GIVEN
from roadcast.evaluation.judge import Readout
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.odometry import OdometryCheck
from roadcast.evaluation.sweep import LEVEL, Sweep

STYLES = {"true": "model", "shuffled": "copy", "neutral": "reconstruction"}
"""Of lines, by what was given."""
ABSENT = "-"


def action_section(test: ActionFidelity, fps: float) -> str:
    """Tables of what was read back, the chart of true against other commands, and visual odometry."""
    late = f"{test.lag} frame{'s' * (test.lag != 1)} ({1000 * test.lag / fps:.0f} ms)"
    return (
        f"<section><h2>Action fidelity</h2><p>{len(test.contexts)} contexts, each imagined three times with the same noise: under "
        f"{'; '.join(f'<b>{name}</b> commands, {escape(text)}' for name, text in GIVEN.items())}. The picture is taken to answer "
        f"{late} after a command.</p>{_read_back(test)}{_commands(test)}{_odometry(test.odometry)}</section>"
    )


def pedal_section(test: Sweep) -> str:
    """The pedal test with its chart."""
    says = "It answers to its pedals" if test.follows else "It is not shown to answer to its pedals"
    chart = line_chart(
        [*(Series("faint", test.commands, flow) for flow in test.flow), _band("model", test.commands, test.mean)],
        title="Outward flow against the command", x_label=test.control, y_label="flow outwards, px/frame", include=(0.0,),
        x_ticks=[float(f"{c:.3g}") for c in test.commands],
    )  # fmt: skip
    rows = [
        (name, cell(effect), f"{test.p_value[key]:.2g}" if (key := name.replace("-", ">")) in test.p_value else "")
        for name, effect in test.effect.items()
    ]
    commands = ", ".join(f"{side} {c:.3g}" for side, c in zip(test.sides, test.commands))
    return (
        f"<section><h2>Pedals</h2><p>The same {len(test.contexts)} contexts, the same noise, {test.frames} frames under three commands "
        f"of {escape(test.control)} ({escape(commands)}). The faster the car, the faster the picture grows, so the line must rise. "
        f"<b>{says}</b>: {test.ordered:.0%} of contexts have {' &gt; '.join(test.sides)}; rank correlation of command and flow "
        f"{test.spearman:+.2f} over all, {cell(test.spearman_within)} within a context. The bar is p &lt; {LEVEL} for both steps, "
        f"measured from frame {test.lag + 1} on.</p>"
        f'<div class="charts"><figure>{chart}<figcaption>Each faint line is one context, the strong one their mean with its 95 % interval.'
        f"</figcaption></figure>{table(('step', 'effect size d<sub>z</sub>', 'p'), rows)}</div></section>"
    )


def _read_back(test: ActionFidelity) -> str:
    rows = [
        (f"{control}, {name}", *_readout(by_control[control]))
        for control in test.read_back["real"]
        for name, by_control in test.read_back.items()
        if control in by_control
    ]
    if not rows:
        return "<p>Without a judge, no commands are read back.</p>"
    meanings = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, (_, _, text) in READ.items())
    return (
        "<h3>Commands read back</h3><p>By a network that was trained on other recordings and sees frames alone. Its error on real video is "
        f"the floor.</p>{table(('', 'mean absolute error', 'correlation', 'R<sup>2</sup>'), rows)}"
        f'<details><summary>What the rows mean</summary><dl class="words">{meanings}</dl></details>'
    )


def _commands(test: ActionFidelity) -> str:
    horizon = list(range(1, len(_list(test.psnr["true"].mean)) + 1))
    lines = [_curve(STYLES[given], horizon, test.psnr[given]) for given in GIVEN]
    chart = line_chart(lines, title="PSNR by what was commanded", x_label="frames ahead", y_label="PSNR, dB")
    controls = list(dict.fromkeys(control for by_control in test.followed.values() for control in by_control))
    head = (
        "given",
        "PSNR lost, dB",
        "p",
        "steering and flow",
        *(f"{control}, read back: correlation" for control in controls),
    )
    rows = [
        (
            given,
            cell(test.gain.get(given)),
            f"{test.p_value[given]:.2g}" if given in test.p_value else "",
            cell(test.flow.get(given)),
            *(cell(r.correlation if (r := test.followed[given].get(control)) else None) for control in controls),
        )
        for given in GIVEN
    ]
    keys = "".join(f'<span class="key {STYLES[given]}">{given} commands</span>' for given in GIVEN)
    return (
        "<h3>True, shuffled and neutral commands</h3><p>What a world gains by being told the truth, and whether it does what it is told "
        f'when that is not what happened.</p><p class="keys">{keys}</p>'
        f'<div class="charts"><figure>{chart}<figcaption>Likeness to the true frames.</figcaption></figure>{table(head, rows)}</div>'
    )


def _odometry(check: OdometryCheck) -> str:
    rows = [
        ("frames whose motion was found, imagined", cell(check.found["model"])),
        ("frames whose motion was found, real", cell(check.found["real"])),
        ("correlation of imagined and real yaw rate", cell(check.agreement)),
        ("their mean difference, rad/s", cell(check.error, 3)),
        ("mean size of the real yaw rate, rad/s", cell(check.size, 3)),
        *((f"correlation with the steering, {'imagined' if s == 'model' else s}", cell(e)) for s, e in check.command.items()),
    ]  # fmt: skip
    guessed = (
        " No calibration is known: the camera is taken to see 90 degrees, so rates are wrong by a factor, and correlations are not."
        if check.guessed
        else ""
    )
    return (
        "<h3>Visual odometry</h3><p>The yaw rate from tracked corners and their epipolar geometry, without any network, under the true "
        f"commands.{guessed}</p>{table(('', ''), rows)}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose rows begin with their names."""
    heads = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>"
        for name, *values in rows
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(estimate: Estimate | None, digits: int = 2) -> str:
    """A mean with its interval."""
    if estimate is None:
        return ABSENT
    return f"{estimate.mean:.{digits}f}<small>[{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]</small>"


def _readout(r: Readout) -> tuple[str, str, str]:
    return cell(r.error, 3), cell(r.correlation), cell(r.r2)


def _band(style: str, x: Sequence[float], means: Sequence[Estimate]) -> Series:
    mean, low, high = ([getattr(e, part) for e in means] for part in ("mean", "low", "high"))
    return Series(style, x, mean, low, high, marks=True)


def _curve(style: str, x: Sequence[float], e: Estimate) -> Series:
    return Series(style, x, _list(e.mean), _list(e.low), _list(e.high))


def _list(values: float | list) -> list:
    assert isinstance(values, list)
    return values
