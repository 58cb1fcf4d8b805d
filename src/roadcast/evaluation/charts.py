"""Line charts as inline SVG, coloured by the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 10, 40


@dataclass(frozen=True)
class Series:
    """One line: its style class in the sheet, its points, an optional band and whether to mark the points."""

    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    marks: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    include: Sequence[float] = (),
    x_ticks: Sequence[float] | None = None,
) -> str:
    """The lines on one pair of axes; `include` are y values the axis must reach, `title` is what screen readers say."""
    ys = [v for s in series for values in (s.y, s.low, s.high) if values is not None for v in values] + list(include)
    xs = [v for s in series for v in s.x]
    scale = math.log10 if log_y else float
    low, high = scale(min(ys)), scale(max(ys))
    room = 0.06 * (high - low) or max(abs(high) * 0.1, 0.1)
    low, high = low - room, high + room
    left, right = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1

    def px(x: float) -> str:
        return f"{LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT):.1f}"

    def py(y: float) -> str:
        return f"{TOP + (high - scale(y)) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}"

    def path(x: Sequence[float], y: Sequence[float]) -> str:
        return " ".join(f"{px(a)},{py(b)}" for a, b in zip(x, y))

    parts = []
    for value in _log_ticks(low, high) if log_y else ticks(low, high, 6):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(value)}" y2="{py(value)}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{py(value)}" dy="4" text-anchor="end">{_label(value)}</text>')
    for value in x_ticks if x_ticks is not None else ticks(left, right, 6):
        parts.append(f'<text x="{px(value)}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_label(value)}</text>')
    for s in series:
        if s.low is not None and s.high is not None:
            band = path([*s.x, *reversed(s.x)], [*s.high, *reversed(s.low)])
            parts.append(f'<polygon class="band {s.style}" points="{band}"/>')
    for s in series:
        parts.append(f'<polyline class="line {s.style}" points="{path(s.x, s.y)}"/>')
        if s.marks:
            parts += [f'<circle class="mark {s.style}" cx="{px(a)}" cy="{py(b)}" r="3.5"/>' for a, b in zip(s.x, s.y)]
    middle = (TOP + HEIGHT - BOTTOM) // 2
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def smooth(y: np.ndarray) -> np.ndarray:
    """Exponential average over about a fiftieth of a curve, without the pull of its start."""
    keep = 1 - 1 / max(1.0, len(y) / 50)
    total = weight = 0.0
    out = []
    for value in y:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(total / weight)
    return np.array(out)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers inside [low, high], in steps of 1, 2 or 5 times a power of ten, about so many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Values 1, 2, 5 times powers of ten between 10^low and 10^high; powers alone where those would be many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = (1,) if high - low > 2.5 else (1, 2, 5)
    return [m * 10.0**p for p in powers for m in steps if low <= math.log10(m * 10.0**p) <= high]


def _label(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{0.0 if abs(value) < 1e-9 else value:.4g}"
