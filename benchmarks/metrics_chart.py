"""The picture of `metrics.py`: for every metric a row, for every distortion a panel, the value against the strength over its floor."""

import numpy as np
from drawing import PAPER, QUIET, RULE, SCALE, dot, line, write
from metrics_clips import STRENGTHS
from metrics_sanity import BLIND, Row, rises

RISES, FALLS, UNSEEN = (96, 150, 30), (50, 60, 205), (150, 140, 130)
LEFT, TOP, PANEL, HIGH, GAP, FOOT = 110, 40, 130, 62, 18, 34


def chart(table: dict[str, Row]) -> np.ndarray:
    """BGR uint8. Larger is worse in all panels; the line across is the floor, real against real."""
    height, width = TOP + len(table) * (HIGH + GAP) + FOOT, LEFT + len(STRENGTHS) * (PANEL + GAP)
    image = np.full((SCALE * height, SCALE * width, 3), PAPER, np.uint8)
    for n, (metric, row) in enumerate(table.items()):
        top = TOP + n * (HIGH + GAP)
        write(image, metric, LEFT - 12, top + HIGH / 2 + 4, align=1.0)
        for m, how in enumerate(STRENGTHS):
            left = LEFT + m * (PANEL + GAP)
            if n == 0:
                write(image, how, left + PANEL / 2, TOP - 16, align=0.5)
            if how in row.values:
                panel(image, left, top, metric, how, row)
    note = "up is worse; across: the floor; green: rises with every strength; red: does not; grey: not meant to see it; * random weights"
    write(image, note, LEFT, height - 10, QUIET, 0.34)
    return image


def panel(image: np.ndarray, left: float, top: float, metric: str, how: str, row: Row) -> None:
    """One curve, from the floor on, on an axis of its own."""
    values = [row.floor[how], *row.values[how]]
    low, high = min(values), max(values)
    colour = RISES if rises(row, how) else UNSEEN if (metric, how) in BLIND else FALLS

    def at(n: int) -> tuple[float, float]:
        return left + PANEL * n / (len(values) - 1), top + HIGH * (
            1 - (values[n] - low) / max(high - low, 1e-6 * max(abs(high), 1))
        )

    floor = at(0)[1]
    line(image, left, floor, left + PANEL, floor, RULE, 1)
    for n in range(len(values) - 1):
        line(image, *at(n), *at(n + 1), colour, 1)
        dot(image, *at(n + 1), colour)
    write(image, f"{high:.3g}", left + 2, top + 8, QUIET, 0.28)
