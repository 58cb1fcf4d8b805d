"""Two evaluations side by side, where they may be: scores of different protocols are not ranked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.errors import UserError
from roadcast.evaluation.metrics.catalogue import METRICS
from roadcast.evaluation.metrics.statistics import Estimate, mean_estimate
from roadcast.overlay import first_difference

COMPARED = ("steps",)
"""Fields of a protocol that may differ, being what is compared: how a world is sampled."""


@dataclass(frozen=True)
class Evaluation:
    """What `Result.save` wrote: metrics.json, and the model's scores of every clip, [metric] [clip, horizon frame]."""

    folder: Path
    record: dict[str, Any]
    scores: dict[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Read a folder; `UserError` where it holds no evaluation."""
        folder = Path(folder)
        try:
            record = json.loads((folder / "metrics.json").read_text())
            with np.load(folder / "clips.npz") as file:
                scores = {name: file[f"{name}/model"] for name in METRICS if f"{name}/model" in file.files}
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: holds no evaluation ({error}); give a folder made by `roadcast evaluate --out`"
            ) from None
        return cls(folder, record, scores)


@dataclass(frozen=True)
class Difference:
    """B minus A in one metric at one horizon, paired by clip, with its 95 % interval; which of them is the better, if it can be told."""

    metric: str
    horizon: int
    a: float
    b: float
    change: Estimate
    better: str


def compare(a: Evaluation, b: Evaluation) -> list[Difference]:
    """Every metric at every horizon of the protocol.

    Raises `UserError` where the protocols differ, with the field that does and its two values.
    """
    ours, theirs = (e.record["protocol"] for e in (a, b))
    if (difference := first_difference(settled(ours), settled(theirs))) is not None:
        raise UserError(
            f"{a.folder} and {b.folder} were measured by different protocols: {shortened(difference)}; such scores have no order. "
            "Evaluate both on the same reel, split and clips"
        )
    return [
        one_difference(name, horizon, a, b)
        for name in METRICS
        if name in a.scores and name in b.scores
        for horizon in a.record["protocol"]["horizons"]
    ]


def settled(protocol: dict[str, Any]) -> dict[str, Any]:
    """What of a protocol must be equal for two scores to have an order."""
    return {name: value for name, value in protocol.items() if name not in COMPARED}


def one_difference(name: str, horizon: int, a: Evaluation, b: Evaluation) -> Difference:
    x, y = (e.scores[name][:, horizon - 1].astype(np.float64) for e in (a, b))
    change = mean_estimate(y - x)
    return Difference(name, horizon, float(x.mean()), float(y.mean()), change, verdict(METRICS[name].better, change))


def verdict(better: str, change: Estimate) -> str:
    """ "A", "B", or "" where the interval holds 0 or the metric has no direction of its own."""
    if change.low <= 0 <= change.high or better not in ("higher", "lower"):
        return ""
    return "B" if (change.mean > 0) == (better == "higher") else "A"


def shortened(text: str, most: int = 160) -> str:
    """A difference whose values are long lists, cut."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
