"""The scores of `ablation.py` as tables: mean and spread over seeds, differences to the base, and a verdict on each.

What varies from run to run is the seed: weights, the order of clips, and noise. Clips are the same for all. So the seed is the unit,
and a variant is held against the base of the same seed:

    d_s = score(variant, s) - score(base, s),    mean d +- t(0.975, S - 1) sd(d) / sqrt(S)          Student 1908

Bootstrapping over clips would speak of the clips, and the eight ways to flip the signs of three seeds allow no p-value below 1/8.
With S = 3, t is 4.30: what is within noise here may yet be there. And of twenty intervals one leaves out zero by chance.
"""

from dataclasses import dataclass

import numpy as np
from ablation_measure import HORIZONS, LEVELS, Scores

from roadcast.evaluation.metrics.statistics import Estimate

T975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t by the number of seeds, two-sided 95 %."""

Results = dict[str, list[Scores]]
"""Scores of every variant, `base` among them, by seed."""


@dataclass(frozen=True)
class Metric:
    """A column; `better` is 1 where more is better, -1 where less is, 0 where neither."""

    title: str
    better: int
    digits: int


METRICS: dict[str, Metric] = {
    "error": Metric("error", -1, 4),
    **{f"snr_{h}": Metric(f"SNR at {h} (dB)", 1, 2) for h in HORIZONS},
    "consistency": Metric("consistency", -1, 4),
    "steering": Metric("steering (px)", 1, 3),
}
"""What verdicts are given on."""

DETAILS: dict[str, Metric] = {
    **{f"error_{level:g}": Metric(f"error at t = {level:g}", -1, 4) for level in LEVELS},
    "motion": Metric("motion", 0, 3),
    "steering_d_z": Metric("steering d_z", 1, 2),
}


def tables(results: Results, floor: Scores, cost: dict[str, Scores]) -> str:
    """Markdown: the scores, their differences to the base, details, and what a step and a frame cost."""
    parts = score_table(results, floor), difference_table(results), detail_table(results), cost_table(cost)
    return "\n\n".join("\n".join(lines) for lines in parts)


def score_table(results: Results, floor: Scores) -> list[str]:
    """Mean and standard deviation over seeds."""
    lines = head("", METRICS)
    blank = {name: f"{floor[name]:.{m.digits}f}" if name in floor else "" for name, m in METRICS.items()}
    lines.append(row("last frame repeated", blank.values()))
    return lines + [row(v, [spread(column(r, n), m) for n, m in METRICS.items()]) for v, r in results.items()]


def difference_table(results: Results) -> list[str]:
    """Variant less base, with its 95 % interval where there are seeds for one; bold where that leaves out zero."""
    lines = head("less the base", METRICS)
    for variant in others(results):
        cells = []
        for name, m in METRICS.items():
            d = difference(results, variant, name)
            told = f"{d.mean:+.{m.digits}f}" + (f" +- {half(d):.{m.digits}f}" if np.isfinite(half(d)) else "")
            cells.append(told if verdict(d, m) == WITHIN else f"**{told} {verdict(d, m)}**")
        lines.append(row(variant, cells))
    return lines


def detail_table(results: Results) -> list[str]:
    """Scores without a verdict."""
    lines = head("", DETAILS)
    return lines + [row(v, [spread(column(r, n), m) for n, m in DETAILS.items()]) for v, r in results.items()]


def cost_table(cost: dict[str, Scores]) -> list[str]:
    """What `ablation_measure.costs` found."""
    lines = ["| | CPU ms a training step | CPU ms a generated frame |", "|---|---:|---:|"]
    return lines + [row(variant, [f"{c['step_ms']:.0f}", f"{c['frame_ms']:.1f}"]) for variant, c in cost.items()]


def figures(results: Results) -> dict[str, dict[str, dict]]:
    """The same for machines: by variant and metric, with a verdict where there are seeds for one."""
    told: dict[str, dict[str, dict]] = {}
    for variant, scores in results.items():
        told[variant] = {n: {"mean": round(float(column(scores, n).mean()), 5)} for n in (*METRICS, *DETAILS)}
        for name, m in METRICS.items() if variant != "base" else ():
            d = difference(results, variant, name)
            told[variant][name]["difference"] = round(d.mean, 5)
            if len(scores) > 1:
                told[variant][name] |= {"half_width": round(half(d), 5), "verdict": verdict(d, m)}
    return told


WITHIN = "within noise"


def verdict(d: Estimate, metric: Metric) -> str:
    """`better` or `worse` where the interval leaves out zero, `within noise` otherwise."""
    if d.low <= 0 <= d.high:
        return WITHIN
    return "better" if d.mean * metric.better > 0 else "worse"


def difference(results: Results, variant: str, metric: str) -> Estimate:
    """Mean of variant less base over seeds, paired by seed, with its 95 % interval; of one seed the interval has no end."""
    d_S = column(results[variant], metric) - column(results["base"], metric)
    seeds, mean = len(d_S), float(d_S.mean())
    reach = T975[seeds] * float(d_S.std(ddof=1)) / seeds**0.5 if seeds > 1 else float("inf")
    return Estimate(mean, mean - reach, mean + reach)


def half(d: Estimate) -> float:
    """Half the width of the interval."""
    return (d.high - d.low) / 2


def others(results: Results) -> list[str]:
    """The variants that are held against the base."""
    return [variant for variant in results if variant != "base"]


def column(scores: list[Scores], metric: str) -> np.ndarray:
    """A metric's values by seed."""
    return np.array([s[metric] for s in scores])


def spread(values_S: np.ndarray, metric: Metric) -> str:
    """Mean and, of more than one, standard deviation."""
    sd = f" ({values_S.std(ddof=1):.{metric.digits}f})" if len(values_S) > 1 else ""
    return f"{values_S.mean():.{metric.digits}f}{sd}"


def head(corner: str, metrics: dict[str, Metric]) -> list[str]:
    """The first two lines of a table."""
    return [row(corner, [m.title for m in metrics.values()]), "|---|" + "---:|" * len(metrics)]


def row(name: str, cells) -> str:
    """One line of a table."""
    return f"| {name} | {' | '.join(cells)} |"
