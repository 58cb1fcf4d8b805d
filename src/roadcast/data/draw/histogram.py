"""How often which value: histograms on round edges, as lines of text and as pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from roadcast.data.draw.canvas import (
    GAP,
    INK,
    PANEL,
    QUIET,
    RULE,
    SPLIT_COLOURS,
    below,
    blank,
    framed,
    grid,
    shortened,
    width_of,
    write,
)

BINS = 24
TEXT_BINS = 10
TAILS = 0.001
MARKS = (1, 2, 4, 5, 10)
"""Bins from one number under the axis to the next."""
TEXT_WIDTH = 24
HEIGHT, WIDTH = 230, 420
LEFT, RIGHT, TOP, BOTTOM = 14, 14, 48, 30


@dataclass(frozen=True)
class Histogram:
    """edges [bins + 1], round numbers apart by one step; counts [bins], of which the first and last hold what lies beyond."""

    edges: np.ndarray
    counts: np.ndarray


def edges_for(values: np.ndarray, bins: int) -> np.ndarray:
    """At most bins + 2 round bin edges (steps of 1, 2 or 5 times a power of ten) around finite values but the outermost 0.1 %."""
    low, high = np.quantile(values, (TAILS, 1 - TAILS)) if len(values) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / bins)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.arange(first, max(last, first + 1) + 1) * step


def histogram(values: np.ndarray, edges: np.ndarray) -> Histogram:
    """Finite values counted between the edges; those beyond count in the outermost bins."""
    inside = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return Histogram(edges, np.histogram(inside, edges)[0])


def histogram_lines(values: np.ndarray, bins: int = TEXT_BINS) -> list[str]:
    """One line a bin: its lower edge, a bar, its share; `values` float [N], NaN left out."""
    known = values[np.isfinite(values)]
    counted = histogram(known, edges_for(known, bins))
    shares = counted.counts / max(1, len(known))
    names = [f"{edge:.6g}" for edge in np.round(counted.edges, 9) + 0.0]
    wide = max(map(len, names))
    lines = []
    for name, share in zip(names, shares):
        bar = "#" * math.ceil(share / max(shares.max(), 1e-9) * TEXT_WIDTH)
        lines.append(f"{name:>{wide}} {bar:<{TEXT_WIDTH}} {share:>6.1%}")
    return lines


def draw_histograms(title: str, signals: Mapping[str, tuple[str, Mapping[str, np.ndarray]]]) -> np.ndarray:
    """A picture of one panel a signal; `signals` by name: its unit, and by split its values float [N], NaN left out."""
    panels = [_panel(name, unit, by_split) for name, (unit, by_split) in signals.items()]
    if not panels:
        panels = [blank(HEIGHT, WIDTH)]
        write(panels[0], "no signals", WIDTH / 2, HEIGHT / 2, QUIET, align=0.5)
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    whole = grid(panels, columns)
    head = blank(46, whole.shape[1], PANEL)
    write(head, shortened(title, head.shape[1] - 260, 0.5), LEFT, 29, size=0.5)
    x = head.shape[1] - LEFT
    for split, colour in reversed(SPLIT_COLOURS.items()):
        write(head, split, x, 29, QUIET, align=1)
        x -= width_of(split) + 16
        head[20:30, x : x + 10] = colour
        x -= 20
    return framed(below(head, whole))


def _panel(name: str, unit: str, by_split: Mapping[str, np.ndarray]) -> np.ndarray:
    image = blank(HEIGHT, WIDTH)
    values = np.concatenate(list(by_split.values()))
    known = values[np.isfinite(values)]
    write(image, name, LEFT, 22, INK, 0.5)
    write(image, f"known {len(known) / max(1, len(values)):.0%}", WIDTH - RIGHT, 22, QUIET, align=1)
    write(image, unit, LEFT, 39, QUIET, 0.38)
    if not len(known):
        return image
    median, low, high = np.median(known), known.min(), known.max()
    write(image, f"median {median:.3g}   {low:.3g} to {high:.3g}", WIDTH - RIGHT, 39, QUIET, 0.38, align=1)
    edges = edges_for(known, BINS)
    counts = {split: histogram(by_split[split], edges).counts for split in SPLIT_COLOURS if split in by_split}
    top = max(1, int(np.sum(list(counts.values()), axis=0).max()))
    floor, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    xs = LEFT + (edges - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - LEFT - RIGHT)
    image[floor, LEFT : WIDTH - RIGHT] = RULE
    for n in range(len(edges) - 1):
        before = 0
        for split, of_split in counts.items():
            y0, y1 = (floor - math.ceil(count / top * room) for count in (before, before + of_split[n]))
            image[y1:y0, round(xs[n]) + 1 : round(xs[n + 1])] = SPLIT_COLOURS[split]
            before += of_split[n]
    marks = min(MARKS, key=lambda marks: abs(marks - len(edges) / 6))
    zero = int(np.argmin(np.abs(edges))) if edges[0] <= 0 <= edges[-1] else 0
    for n in range(zero % marks, len(edges), marks):
        image[floor : floor + 4, min(round(xs[n]), WIDTH - 1)] = QUIET
        align = 0.5 if LEFT + GAP < xs[n] < WIDTH - RIGHT - GAP else float(xs[n] > WIDTH / 2)
        write(image, f"{round(edges[n], 9) + 0.0:.6g}", xs[n], floor + 18, QUIET, 0.38, align)
    return image


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * 0.999)
