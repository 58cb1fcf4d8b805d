"""Where a stage is: all that the steps to come depend on, besides the tensors. It is part of every state, as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from roadcast.config import GuardConfig, StageConfig
from roadcast.objectives.base import Objective
from roadcast.training.guard import EarlyStopping, Guard


@dataclass
class Place:
    """How far a stage has come.

    step       steps done, those among them that were judged not to be taken
    shift      further steps of data that were passed over by rolling back
    parts      that a micro-batch is cut into, since memory ran out
    skipped, overflows, rollbacks  how often, in all
    """

    step: int = 0
    shift: int = 0
    parts: int = 1
    skipped: int = 0
    overflows: int = 0
    rollbacks: int = 0


class LossScaler(torch.amp.GradScaler):
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2), told of overflows by the loop: on shards of gradients no process
    can see them alone."""

    def settle(self, overflow: bool) -> None:
        """After a step: halve the scale where its gradient left the range, double it after 2,000 in a row that did not."""
        if not (state := self.state_dict()):
            return
        scale, clean = state["scale"], state["_growth_tracker"] + 1
        if overflow:
            scale, clean = scale * state["backoff_factor"], 0
        elif clean == state["growth_interval"]:
            scale, clean = scale * state["growth_factor"], 0
        self.load_state_dict(state | {"scale": scale, "_growth_tracker": clean})


class Averages:
    """Running means of named scalars between two lines of the log."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.rows.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        means = {name: sum(row) / len(row) for name, row in self.rows.items()}
        self.rows = {}
        return means


class Course:
    """The place, and those who judge from what came before it."""

    def __init__(self, objective: Objective, stage: StageConfig, guard: GuardConfig, device: str, dtype: torch.dtype):
        self.place = Place()
        self.objective = objective
        self.guard = Guard(guard)
        self.stopping = EarlyStopping(stage.patience)
        self.scaler = LossScaler(device, enabled=dtype == torch.float16)
        self.averages = Averages()

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "place": asdict(self.place),
            "guard": self.guard.state(),
            "stopping": self.stopping.state(),
            "scaler": self.scaler.state_dict(),
            "averages": self.averages.rows,
            "objective": self.objective.state(),
        }

    def counts(self) -> dict[str, float]:
        """For the log: what was not taken, how often was rolled back, and the loss scale where there is one."""
        place = self.place
        counts = {"skipped": place.skipped, "overflows": place.overflows, "rollbacks": place.rollbacks}
        return counts | ({"loss_scale": self.scaler.get_scale()} if self.scaler.is_enabled() else {})

    def resume(self, facts: dict[str, Any]) -> None:
        """Go on from where a state was saved; one from before there were guards has its step alone."""
        self.guard.load_state(facts.get("guard", {}))
        self._return(facts)

    def roll_back(self, facts: dict[str, Any]) -> None:
        """Go back to a state, and on with the data after that of the present step. The guard remembers, or it would roll back for ever."""
        past = self.place
        self._return(facts)
        self.place.shift = past.shift + past.step + 1 - self.place.step
        self.place.skipped, self.place.overflows = past.skipped, past.overflows
        self.place.rollbacks = past.rollbacks + 1

    def _return(self, facts: dict[str, Any]) -> None:
        self.place = Place(**facts.get("place", {"step": facts["step"]}))
        self.stopping.load_state(facts.get("stopping", {}))
        if facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        self.averages.rows = {name: list(row) for name, row in facts.get("averages", {}).items()}
        self.objective.load_state(facts.get("objective", {}))
