"""The report's section on distances of sets of features: FVD and its kin."""

from html import escape
from typing import TYPE_CHECKING

from roadcast.evaluation.charts import Series, line_chart
from roadcast.evaluation.metrics.distribution import NOTE, Distribution
from roadcast.evaluation.metrics.floors import SYSTEMS

if TYPE_CHECKING:
    from roadcast.evaluation.result import Result

TITLES = {
    "fvd": "FVD",
    "fid": "FID",
    "frame_frechet": "Frechet distance of frames",
    "jepa_frechet": "Frechet distance of clips in the encoder's features",
}
NAMES = {
    "model": "model",
    "copy": "last frame repeated",
    "reconstruction": "tokenizer alone",
    "real": "real against real",
}
COLUMNS = ("distance", "at infinitely many", "kernel distance", "precision", "recall", "rows")


def title(name: str) -> str:
    """Of a distance by its extractor's name, "NAME" or "NAME@HORIZON"."""
    kind, _, horizon = name.partition("@")
    return f"{TITLES[kind]}, up to frame {horizon}" if horizon else TITLES[kind]


def distribution_section(result: "Result") -> str:
    """Tables and curves of every extractor; nothing where there was none."""
    blocks = [
        _block(name, by_system, result.protocol.networks[name]) for name, by_system in result.distributions.items()
    ]
    if not blocks:
        return ""
    return f"<section><h2>As sets</h2><p>{escape(NOTE)}</p>{''.join(blocks)}</section>"


def _block(name: str, by_system: dict[str, Distribution], identity: str) -> str:
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(_row(system, by_system[system]) for system in SYSTEMS)
    lines = [
        Series(s, [n for n, _ in d.by_count], [v for _, v in d.by_count], marks=True) for s, d in by_system.items()
    ]
    chart = line_chart(lines, title=f"{title(name)} by number of rows", x_label="rows", y_label=title(name))
    return (
        f'<h3>{title(name)}</h3><div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p><small>{escape(identity)}</small></p><figure style="max-width: 460px">{chart}<figcaption>By the number of rows that are '
        "compared: where the curve still falls, the value is bias.</figcaption></figure>"
    )


def _row(system: str, d: Distribution) -> str:
    cells = (
        f"{number(d.frechet.mean)}<small>[{number(d.frechet.low)}, {number(d.frechet.high)}]</small>",
        number(d.at_infinity), number(d.kernel), f"{d.precision:.0%}", f"{d.recall:.0%}", f"{d.count:,}",
    )  # fmt: skip
    return f'<tr class="{system}"><th>{NAMES[system]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def number(value: float | list) -> str:
    """Four digits, or all before the point where there are more."""
    assert isinstance(value, float)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
