"""The picture of `scaling.py`: time above, arithmetic below, a panel for everything that grows, on logarithmic axes."""

import math
from dataclasses import dataclass

import numpy as np
from drawing import INK, PAPER, QUIET, RULE, SCALE, dot, line, write

from roadcast.evaluation.charts import ticks

WIDE, HIGH, LEFT, TOP, GAP, UNDER = 220, 150, 62, 44, 46, 62
TIME, WORK, YOUNG = (150, 90, 20), (60, 120, 40), (90, 140, 230)  # BGR


@dataclass(frozen=True)
class Panel:
    """What grows, its values in words and numbers, and for each the milliseconds and the GFLOP of one world's frame."""

    title: str
    words: list[str]
    x: list[float]
    ms: list[float]
    gflop: list[float]


@dataclass(frozen=True)
class Axes:
    """A panel's place, its upper left corner, and the ends of its axes, the vertical one logarithmic and, mostly, the other too."""

    left: float
    top: float
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = True

    def px(self, x: float) -> float:
        low, high = self.x
        return self.left + WIDE * (share(x, self.x) if self.log_x else (x - low) / (high - low))

    def py(self, y: float) -> float:
        return self.top + HIGH * (1 - share(y, self.y))


def share(value: float, ends: tuple[float, float]) -> float:
    """How far `value` lies between the ends, in logarithms."""
    low, high = (math.log(end) for end in ends)
    return (math.log(value) - low) / (high - low)


def chart(panels: list[Panel], rollout: tuple[np.ndarray, np.ndarray, np.ndarray], how: str) -> np.ndarray:
    """BGR uint8. `rollout` is the frame number, the old rollout's milliseconds and the young ones', `how` says what ran.

    Panels of a row share their vertical axis, so that slopes and heights can be compared.
    """
    at, old_ms, young_ms = rollout
    columns, rows = len(panels) + 1, 2
    height = TOP + rows * (HIGH + UNDER)
    image = np.full((SCALE * height, SCALE * (LEFT + columns * (WIDE + GAP)), 3), PAPER, np.uint8)
    times = [*(v for panel in panels for v in panel.ms), *old_ms, *young_ms]
    works = [v for panel in panels for v in panel.gflop]
    for n, panel in enumerate(panels):
        left = LEFT + n * (WIDE + GAP)
        for row, (values, of_all, colour) in enumerate(((panel.ms, times, TIME), (panel.gflop, works, WORK))):
            axes = Axes(left, TOP + row * (HIGH + UNDER), ends(panel.x), ends(of_all))
            frame(image, axes, dict(zip(panel.x, panel.words)), panel.title)
            fit(image, axes, panel.x, values, colour)
    left = LEFT + len(panels) * (WIDE + GAP)
    axes = Axes(left, TOP, (0, at[-1] + at[0]), ends(times), log_x=False)
    frame(image, axes, {v: f"{v:g}" for v in ticks(*axes.x, about=5)}, "frame of a long rollout")
    for x1, y1, x2, y2 in zip(at, young_ms, at[1:], young_ms[1:]):
        line(image, axes.px(x1), axes.py(y1), axes.px(x2), axes.py(y2), YOUNG, 2)
    for x, old in zip(at, old_ms):
        dot(image, axes.px(x), axes.py(old), TIME)
    write(image, "ms a frame of one world, processor time", LEFT - 42, TOP - 24, TIME, 0.45)
    write(image, "GFLOP a frame of one world", LEFT - 42, TOP + HIGH + UNDER - 14, WORK, 0.45)
    notes = (
        (f"{how}, one thread", INK), ("all else as in the preset tiny", INK), ("line: ms ~ x^slope, fitted", INK),
        ("dots: one long rollout", TIME), ("line: rollouts begun anew beside it", YOUNG),
    )  # fmt: skip
    for n, (words, colour) in enumerate(notes):
        write(image, words, left, TOP + HIGH + UNDER + 24 + 20 * n, colour, 0.45)
    return image


def frame(image: np.ndarray, axes: Axes, names: dict[float, str], title: str) -> None:
    """The axes with their ticks and, under them, what grows."""
    bottom = axes.top + HIGH
    for value in decades(*axes.y):
        line(image, axes.left, axes.py(value), axes.left + WIDE, axes.py(value), RULE, 1)
        write(image, f"{value:g}", axes.left - 6, axes.py(value) + 4, QUIET, 0.36, align=1.0)
    line(image, axes.left, bottom, axes.left + WIDE, bottom, QUIET, 1)
    for value, name in names.items():
        line(image, axes.px(value), bottom, axes.px(value), bottom + 3, QUIET, 1)
        write(image, name, axes.px(value), bottom + 14, QUIET, 0.34, align=0.5)
    write(image, title, axes.left + WIDE / 2, bottom + 29, INK, 0.4, align=0.5)


def fit(image: np.ndarray, axes: Axes, x: list[float], y: list[float], colour) -> None:
    """The points, the power law fitted to them, and its exponent."""
    slope, offset = np.polyfit(np.log(x), np.log(y), 1)
    start, end = (float(np.exp(offset + slope * np.log(v))) for v in (x[0], x[-1]))
    line(image, axes.px(x[0]), axes.py(start), axes.px(x[-1]), axes.py(end), colour, 1)
    for a, b in zip(x, y):
        dot(image, axes.px(a), axes.py(b), colour)
    write(image, f"slope {slope:.2f}", axes.left + WIDE, axes.top - 6, colour, 0.4, align=1.0)


def ends(values) -> tuple[float, float]:
    """A logarithmic axis over the values, with a little room."""
    low, high = math.log(min(values)), math.log(max(values))
    room = 0.08 * (high - low) or 0.5
    return math.exp(low - room), math.exp(high + room)


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between the ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
