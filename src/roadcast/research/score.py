"""The scores that runs are compared by: their names, which way is better, and where an evaluation keeps them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.errors import UserError
from roadcast.evaluation.measures import USUAL
from roadcast.evaluation.metrics.catalogue import METRICS
from roadcast.evaluation.metrics.statistics import mean_estimate
from roadcast.evaluation.sweep import MIN_CONTEXTS
from roadcast.training.metrics import read_log

STEERING = "steering"
"""By how many pixels a frame hard left and hard right part the picture, above 0 the right way."""
DRIFT = "drift"
"""NAME@drift is the least-squares slope of a metric along the rollout, a second."""
HELD_OUT = "val_"
"""What the names of the objective's terms on held-out clips begin with, as in the log: of the last stage, when it ended."""

Scores = dict[str, list[float]]
"""By name, NAME@FRAMES, NAME@drift, `steering` or `val_TERM`: mean, and the ends of its 95 % interval over clips where there is one."""


def scores_of(record: dict[str, Any], system: str = "model") -> Scores:
    """The scores in the record of an evaluation (metrics.json), at every horizon that was imagined: of the model, or of a floor."""
    scores = {
        f"{name}@{at + 1}": list(values)
        for name in METRICS
        if name in record["metrics"]
        for curve in [record["metrics"][name][system]]
        for at, values in enumerate(zip(curve["mean"], curve["low"], curve["high"], strict=True))
    }
    slopes = {name: by_system[system] for name, by_system in record["drift"].items() if slopes_tell(name)}
    scores |= {f"{name}@{DRIFT}": [slope[key] for key in ("mean", "low", "high")] for name, slope in slopes.items()}
    if system == "model" and record["steering"] is not None:
        flow = np.array(record["steering"]["flow"])
        parted = mean_estimate(flow[:, 0] - flow[:, -1])
        scores[STEERING] = [parted.mean, parted.low, parted.high]
    return scores


def slopes_tell(name: str) -> bool:
    """Whether a metric is better one way, so that a slope of it is; a ratio that should stay near 1 has no better slope."""
    return name in METRICS and METRICS[name].better in ("higher", "lower")


def held_out_scores(stage: Path) -> Scores:
    """The terms on held-out clips that the log of a stage ends with."""
    terms: Scores = {}
    for row in read_log(stage / "log.jsonl"):
        terms |= {name: [value] * 3 for name, value in row.items() if name.startswith(HELD_OUT)}
    return terms


def better(score: str) -> str:
    """Which values are better: higher, lower, near 1 or near real."""
    if score.startswith(HELD_OUT):
        return "lower"
    return "higher" if score == STEERING else METRICS[score.partition("@")[0]].better


def badness(score: str, value: float) -> float:
    """The value as something to make small, for rankings and searches; infinite where it is not a number."""
    if math.isnan(value):
        return math.inf
    return {"higher": -value, "lower": value, "near 1": abs(value - 1)}[better(score)]


def digits(score: str) -> int:
    """With how many digits after the point a score is told."""
    if score.startswith(HELD_OUT):
        return 4
    return 3 if score == STEERING else METRICS[score.partition("@")[0]].digits


def title(score: str) -> str:
    """What a score is called at the head of a column."""
    if score == STEERING:
        return "steering (px)"
    if score.startswith(HELD_OUT):
        return f"held-out {score.removeprefix(HELD_OUT)}"
    name, _, frames = score.partition("@")
    if frames == DRIFT:
        return f"{METRICS[name].title} drift ({METRICS[name].unit}/s)"
    unit = f" ({METRICS[name].unit})" if METRICS[name].unit else ""
    return f"{METRICS[name].title} at {frames}{unit}"


def check_score(score: str, horizon: int, steering_contexts: int, where: str) -> None:
    """`UserError`, with `where` it was asked for, unless an evaluation of so many frames and steering contexts has it.

    Of metrics, those count that need no network of their own.
    """
    name, _, frames = score.partition("@")
    if score.startswith(HELD_OUT):
        return
    usual = [name for measure in USUAL for name in measure.names]
    if score == STEERING:
        if steering_contexts < MIN_CONTEXTS:
            raise UserError(
                f"{where}: steering needs measure.steering_contexts = {MIN_CONTEXTS} or more, here {steering_contexts}"
            )
    elif name in usual and frames == DRIFT and slopes_tell(name):
        return
    elif name not in usual or not frames.isdigit() or not 1 <= int(frames) <= horizon:
        raise UserError(
            f"{where}: {score!r} is no score; write NAME@FRAMES, of {', '.join(usual)} at 1 to {horizon}, NAME@drift of one that is "
            "better higher or lower, steering, or val_TERM"
        )
