"""A forest plot as inline SVG: a row a variant, its dots, its mean and its interval about a line of zero."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from roadcast.evaluation.charts import ticks

WIDTH, ROW, TOP, FOOT, LEFT, RIGHT = 460, 26, 30, 30, 150, 14
STYLES = {"better": "reconstruction", "worse": "real", "unclear": "copy"}
"""Classes of the report's style sheet, by verdict."""


@dataclass(frozen=True)
class Line:
    """One row: a difference, the ends of its interval (infinite for one seed), its seeds, and its verdict."""

    name: str
    mean: float
    low: float
    high: float
    dots: Sequence[float]
    verdict: str


def forest(lines: Sequence[Line], heading: str) -> str:
    """The rows on one axis, which holds every dot; an interval that is wider than three times those is cut at the edge."""
    reach = 1.1 * max(*(abs(dot) for line in lines for dot in line.dots), 1e-9)
    ends = [abs(end) for line in lines for end in (line.low, line.high) if math.isfinite(end)]
    reach = max(reach, min(1.1 * max(ends, default=0.0), 3 * reach))
    height = TOP + ROW * len(lines) + FOOT
    bottom = height - FOOT

    def px(value: float) -> str:
        return f"{LEFT + (min(max(value / reach, -1), 1) + 1) / 2 * (WIDTH - LEFT - RIGHT):.1f}"

    parts = [f'<text x="{LEFT}" y="14">{escape(heading)}</text>']
    for value in ticks(-reach, reach, 4):
        told = "0" if abs(value) < 1e-12 else f"{value:+.3g}"
        parts.append(f'<line class="grid" x1="{px(value)}" x2="{px(value)}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{px(value)}" y="{bottom + 16}" text-anchor="middle">{told}</text>')
    parts.append(f'<line class="line copy" x1="{px(0)}" x2="{px(0)}" y1="{TOP}" y2="{bottom}"/>')
    for n, line in enumerate(lines):
        y, style = TOP + (n + 0.5) * ROW, STYLES[line.verdict]
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(line.name)}</text>')
        tip = f"{line.name}: {line.mean:+.4g} [{line.low:+.4g}, {line.high:+.4g}] {line.verdict}"
        parts.append(f'<g class="{style}"><title>{escape(tip)}</title>')
        if math.isfinite(line.low):
            parts.append(f'<line class="line" x1="{px(line.low)}" x2="{px(line.high)}" y1="{y}" y2="{y}"/>')
        parts.append(f'<line class="line" x1="{px(line.mean)}" x2="{px(line.mean)}" y1="{y - 7}" y2="{y + 7}"/>')
        parts += [f'<circle class="mark" cx="{px(dot)}" cy="{y}" r="2.5"/>' for dot in line.dots]
        parts.append("</g>")
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(heading)}">{"".join(parts)}</svg>'
