"""A judge that never saw the world it judges: inverse dynamics, which reads commands back from video."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadcast.errors import UserError
from roadcast.evaluation.metrics.statistics import (
    Estimate,
    correlation_estimate,
    determination_estimate,
    ratio_estimate,
)
from roadcast.evaluation.protocol import Protocol
from roadcast.flow import world
from roadcast.perception.inverse import InverseDynamics


@dataclass(frozen=True)
class Readout:
    """How well commands were read back, over all frames of all clips where they are known, with 95 % intervals over clips.

    error        mean absolute error in the control's unit
    correlation  Pearson's, None where the command or the reading never changes
    r2           share of the commands' variance that is read; below 0 where their mean would tell more
    """

    error: Estimate
    correlation: Estimate | None
    r2: Estimate | None


def load_judge(folder: Path, protocol: Protocol, device: str = "cpu") -> InverseDynamics:
    """The judge in a world's folder, for clips of this protocol.

    Raises: UserError where the world has none, where it looks at pictures of another size or rate, shares no control with the
        protocol, or sees further than context or horizon reach.
    """
    found = world.World.load(folder, device)
    judge = found.inverse
    if judge is None:
        raise UserError(f"{folder}: this world has no judge; train one by roadcast train recipes/judge.toml")
    for name in ("height", "width", "fps"):
        if (theirs := getattr(found, name)) != (ours := getattr(protocol, name)):
            raise UserError(f"{folder}: the judge sees {name} {theirs}, the clips have {ours}; train one for them")
    if not set(judge.actions) & set(protocol.actions):
        raise UserError(
            f"{folder}: the judge reads {', '.join(judge.actions)} and the world takes {', '.join(protocol.actions)}; train one that "
            "reads what the world takes, by dynamics.actions in recipes/judge.toml"
        )
    if protocol.context <= judge.past or protocol.horizon <= judge.ahead:
        raise UserError(
            f"context {protocol.context} and horizon {protocol.horizon} are too short for the judge in {folder}; use more than "
            f"{judge.past} and {judge.ahead}"
        )
    return judge


def readout(read_NK: np.ndarray, true_NK: np.ndarray, known_NK: np.ndarray) -> Readout | None:
    """How well `read` tells `true` where that is known; None where it is nowhere."""
    if not known_NK.any():
        return None
    miss = np.where(known_NK, np.abs(read_NK - true_NK), 0.0)
    return Readout(
        error=ratio_estimate(miss.sum(axis=1), known_NK.sum(axis=1)),
        correlation=correlation_estimate(read_NK, true_NK, known_NK),
        r2=determination_estimate(read_NK, true_NK, known_NK),
    )
