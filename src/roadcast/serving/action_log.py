"""What made a session's present: how it began, and the command of every step since. Enough to make the same frames anywhere else."""

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from roadcast.errors import UserError


@dataclass(frozen=True, eq=False)
class Context:
    """A clip of the user's own: frames uint8 [F, H, W, 3], actions float32 and known bool [F, A]."""

    frames_FHWC: np.ndarray
    actions_FA: np.ndarray
    known_FA: np.ndarray


@dataclass(frozen=True)
class Start:
    """How a session begins: at the end of a scene, or of `context` where there is one, and with the noise of `seed`."""

    scene: int = 0
    seed: int = 0
    context: Context | None = None


@dataclass
class ActionLog:
    """A start and the commands after it, oldest first, `values` as they were given: one row of `actions` a step, NaN where unknown."""

    start: Start
    actions: tuple[str, ...]
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.values) // len(self.actions)

    def __iter__(self) -> Iterator[dict[str, float]]:
        for i in range(len(self)):
            row = self.values[i * len(self.actions) : (i + 1) * len(self.actions)]
            yield {name: value for name, value in zip(self.actions, row, strict=True) if not math.isnan(value)}

    def append(self, action: Mapping[str, float]) -> None:
        """One more step, under a command that passed `check`."""
        self.values.extend(action.get(name, math.nan) for name in self.actions)

    def check(self, action: Mapping[str, float]) -> None:
        """Raise `UserError` for a control that is not one of `actions`, or a value that is no finite number."""
        for name, value in action.items():
            if name not in self.actions:
                raise UserError(f"action: {name} is no control of this world; use {', '.join(self.actions)}")
            if not math.isfinite(value):
                raise UserError(f"action: {name} = {value}; use a finite number")

    def first(self, steps: int) -> "ActionLog":
        """The past up to so many steps, to go on from independently."""
        return ActionLog(self.start, self.actions, self.values[: steps * len(self.actions)])
