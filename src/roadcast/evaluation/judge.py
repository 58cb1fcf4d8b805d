"""A judge that never saw the world it judges: inverse dynamics, which reads commands back from video."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.metrics.statistics import (
    Estimate,
    correlation_estimate,
    determination_estimate,
    ratio_estimate,
)
from roadcast.evaluation.protocol import Protocol, read_clips
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


def floor(judge: InverseDynamics, reel: Reel, protocol: Protocol, batch: int = 8) -> dict[str, Readout]:
    """By control, how well the judge reads the commands of real video, over the horizon of every clip of the protocol."""
    start, read, true, known = protocol.context - judge.past - 1, [], [], []
    for at in range(0, len(protocol.clips), batch):
        clip = read_clips(reel, protocol, range(at, min(at + batch, len(protocol.clips))))
        assert clip.frames_BFHWC is not None
        read.append(judge.read(clip.frames_BFHWC[:, start:]).numpy())
        told = slice(protocol.context, protocol.context + read[-1].shape[1])
        true.append(clip.actions_BFA[:, told].numpy())
        known.append(clip.known_BFA[:, told].numpy())
    told_NKA, true_NKA, known_NKA = (np.concatenate(rows) for rows in (read, true, known))
    found = {
        name: readout(told_NKA[..., judge.actions.index(name)], true_NKA[..., a], known_NKA[..., a])
        for a, name in enumerate(protocol.actions)
        if name in judge.actions
    }
    return {name: value for name, value in found.items() if value is not None}
