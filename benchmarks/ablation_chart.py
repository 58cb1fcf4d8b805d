"""The picture of `ablation.py`: for every metric a panel, for every variant its difference to the base with its interval."""

import cv2
import numpy as np
from ablation_report import METRICS, WITHIN, Metric, Results, column, difference, others, verdict

PAPER, INK, QUIET, RULE = (255, 255, 255), (45, 40, 36), (128, 120, 112), (222, 218, 214)  # BGR
COLOURS = {"better": (96, 150, 30), "worse": (50, 60, 205), WITHIN: (150, 140, 130)}
SCALE = 2
LEFT, TOP, PANEL, ROW, GAP, FOOT = 170, 44, 120, 24, 14, 40


def chart(results: Results) -> np.ndarray:
    """BGR uint8: rows are variants; a dot a seed, a bar the mean of the paired differences and its 95 % interval.

    Right of the line of zero is better in every panel, whichever way the metric runs.
    """
    variants = others(results)
    height, width = TOP + ROW * len(variants) + FOOT, LEFT + len(METRICS) * (PANEL + GAP)
    image = np.full((SCALE * height, SCALE * width, 3), PAPER, np.uint8)
    for n, variant in enumerate(variants):
        write(image, variant.replace("-", " "), LEFT - 12, TOP + (n + 0.5) * ROW + 4, align=1.0)
    for n, (name, metric) in enumerate(METRICS.items()):
        panel(image, LEFT + n * (PANEL + GAP), results, name, metric)
    note = "paired differences to the base, mean and 95 % interval over seeds; right is better; grey: within noise"
    write(image, note, LEFT, height - 8, QUIET)
    return image


def panel(image: np.ndarray, left: float, results: Results, name: str, metric: Metric) -> None:
    """One metric's panel, whose axis is symmetric and holds every seed and every interval."""
    variants = others(results)
    base_S = column(results["base"], name)
    seeds = {v: metric.better * (column(results[v], name) - base_S) for v in variants}
    found = {v: difference(results, v, name) for v in variants}
    ends = [abs(x) for v in variants for x in (*seeds[v], found[v].low, found[v].high) if np.isfinite(x)]
    reach, bottom = 1.05 * max(*ends, 1e-9), TOP + ROW * len(variants)

    def px(value: float) -> float:
        return left + PANEL * (0.5 + 0.5 * float(np.clip(value / reach, -1, 1)))

    write(image, metric.title, left + PANEL / 2, TOP - 12, INK, align=0.5)
    line(image, px(0), TOP, px(0), bottom, RULE, 2)
    for value, align in ((-reach, 0.0), (reach, 1.0)):
        write(image, f"{metric.better * value:+.{metric.digits}f}", px(value), bottom + 14, QUIET, 0.34, align)
    for n, variant in enumerate(variants):
        y, d = TOP + (n + 0.5) * ROW, found[variant]
        colour = COLOURS[verdict(d, metric)]
        line(image, px(metric.better * d.low), y, px(metric.better * d.high), y, colour, 1)
        line(image, px(metric.better * d.mean), y - 6, px(metric.better * d.mean), y + 6, colour, 2)
        for value in seeds[variant]:
            dot(image, px(value), y, colour)


def write(image: np.ndarray, words: str, x: float, y: float, colour=INK, size: float = 0.4, align: float = 0.0) -> None:
    """Words with their base line at y; x is what share `align` of them lies left of."""
    font, scaled = cv2.FONT_HERSHEY_SIMPLEX, SCALE * size
    (wide, _), _ = cv2.getTextSize(words, font, scaled, 1)
    cv2.putText(image, words, (round(SCALE * x - align * wide), round(SCALE * y)), font, scaled, colour, 1, cv2.LINE_AA)


def line(image: np.ndarray, x1: float, y1: float, x2: float, y2: float, colour, thick: int) -> None:
    """A straight line."""
    a, b = (tuple(round(SCALE * v) for v in point) for point in ((x1, y1), (x2, y2)))
    cv2.line(image, a, b, colour, thick * SCALE, cv2.LINE_AA)


def dot(image: np.ndarray, x: float, y: float, colour) -> None:
    """A filled circle."""
    cv2.circle(image, (round(SCALE * x), round(SCALE * y)), 2 * SCALE, colour, -1, cv2.LINE_AA)
