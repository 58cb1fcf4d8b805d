"""The report's section on action fidelity: what is read back from imagined video."""

from html import escape

from roadcast.evaluation.actions import READ, ActionFidelity
from roadcast.evaluation.charts import Series, line_chart
from roadcast.evaluation.counterfactual import GIVEN
from roadcast.evaluation.judge import Readout
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.odometry import OdometryCheck
from roadcast.evaluation.report.parts import cell, p_cell, table

STYLES = {"true": "model", "shuffled": "copy", "neutral": "reconstruction"}
"""Of lines, by what was given."""


def action_section(test: ActionFidelity, fps: float) -> str:
    """Tables of what was read back, the chart of true against other commands, and visual odometry."""
    late = f"{test.lag} frame{'s' * (test.lag != 1)} ({1000 * test.lag / fps:.0f} ms)"
    return (
        f"<section><h2>Action fidelity</h2><p>{len(test.contexts)} contexts, each imagined three times with the same noise: under "
        f"{'; '.join(f'<b>{name}</b> commands, {escape(text)}' for name, text in GIVEN.items())}. The picture is taken to answer "
        f"{late} after a command.</p>{_read_back(test)}{_commands(test)}{_odometry(test.odometry)}</section>"
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
            p_cell(test.p_value.get(given)),
            cell(test.flow.get(given)),
            *(cell(r.correlation if (r := test.followed[given].get(control)) else None) for control in controls),
        )
        for given in GIVEN
    ]
    keys = "".join(f'<span class="key {STYLES[given]}">{given} commands</span>' for given in GIVEN)
    return (
        "<h3>True, shuffled and neutral commands</h3><p>What a world gains by being told the truth, and whether it does what it is told "
        f'when that is not what happened.</p><p class="keys">{keys}</p>'
        f'<div class="charts"><figure>{chart}<figcaption>Likeness to the true frames.</figcaption></figure></div>{table(head, rows)}'
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


def _readout(r: Readout) -> tuple[str, str, str]:
    return cell(r.error, 3), cell(r.correlation), cell(r.r2)


def _curve(style: str, x: list[int], e: Estimate) -> Series:
    return Series(style, x, _list(e.mean), _list(e.low), _list(e.high))


def _list(values: float | list) -> list:
    assert isinstance(values, list)
    return values
