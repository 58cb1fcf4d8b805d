"""What the engine asks of a model that drives several worlds at once, and that contract over plain sessions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.serving.session import Session


@dataclass(frozen=True)
class Shown:
    """One frame [H, W, 3], RGB uint8, and how little the model was sure of it (what the figure means is the backend's to say).

    uncertainty  None: the backend knows none
    traits       figures of the step by name (serving/foreign.py), where the backend takes any
    """

    frame_HWC: np.ndarray
    uncertainty: float | None = None
    traits: dict[str, float] | None = None


class NotFinite(RuntimeError):  # noqa: N818
    """A step came to numbers that are not finite in these slots, and was taken back: no slot has moved."""

    def __init__(self, slots: Sequence[int]):
        super().__init__(f"the step is not finite in slots {list(slots)}")
        self.slots = tuple(slots)


class Backend(Protocol):
    """Worlds in numbered slots 0 to `slots` - 1, for one thread.

    fps in Hz, height and width in pixels, `version` the name of the model; `batches` says whether a step of several slots takes less time
    than one after another, so that those that are nearly due are better taken along.

    A call that raises has moved no slot, and a slot's frames depend on its own beginning, seed and commands alone, bit for bit: not
    on what lies in other slots, nor on which step with it.
    """

    fps: float
    height: int
    width: int
    actions: tuple[str, ...]
    scenes: list[str]
    slots: int
    version: str
    batches: bool

    def begin(self, slot: int, scene: int, seed: int) -> np.ndarray:
        """The last frame [H, W, 3] uint8 of scene number `scene`, from which the slot goes on; `UserError` for one that is not there."""
        ...

    def begin_from(
        self, slot: int, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray, seed: int
    ) -> np.ndarray:
        """The last frame of a clip that the slot's world has lived through.

        frames uint8 of the backend's height and width, actions float32 in the order of `actions`, known bool; else `UserError`.
        """
        ...

    def step(self, actions: Mapping[int, dict[str, float]]) -> dict[int, Shown]:
        """The next frame of each of these slots under its command; a control that is not named is unknown. All of them move, or none."""
        ...

    def snapshot(self, slot: int) -> object:
        """All that decides a slot's future, untouched by later steps."""
        ...

    def restore(self, slot: int, snapshot: object) -> None:
        """Go on from a snapshot of this or another slot; the snapshot stays good."""
        ...

    def free(self, slot: int) -> None:
        """Nobody is in this slot any more."""
        ...


def check_clip(backend: Backend, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray) -> None:
    """Raise `UserError` unless this is a clip that `Backend.begin_from` takes: of at least one frame, and as the backend sees them."""
    size, frames = (backend.height, backend.width, 3), len(frames_FHWC)
    if frames_FHWC.dtype != np.uint8 or frames_FHWC.shape[1:] != size or not frames:
        raise UserError(
            f"clip: frames are {frames_FHWC.dtype} {frames_FHWC.shape}; give uint8 (F, {', '.join(map(str, size))})"
        )
    for name, given in (("actions", actions_FA), ("known", known_FA)):
        if given.shape != (frames, len(backend.actions)):
            raise UserError(
                f"clip: {name} are {given.shape}; give one row of {len(backend.actions)} for each of {frames} frames"
            )
    if not np.isfinite(actions_FA).all():
        raise UserError("clip: an action is not a finite number; give 0, and known = false, where there is none")


class SessionBackend:
    """One slot a session, over any `Session`s of one kind: each steps by itself, so that nothing is gained by stepping together.

    A step can only be taken back if it is known what was there before: every step snapshots the sessions that it moves.
    """

    batches = False

    def __init__(self, sessions: "Iterable[Session]", version: str = ""):
        self.sessions, self.version = list(sessions), version
        like = self.sessions[0]
        self.fps, self.height, self.width = like.fps, like.height, like.width
        self.actions, self.scenes, self.slots = like.actions, like.scenes, len(self.sessions)

    def begin(self, slot: int, scene: int, seed: int) -> np.ndarray:
        if not 0 <= scene < len(self.scenes):
            raise UserError(f"scene {scene} does not exist; choose 0 to {len(self.scenes) - 1}")
        return self.sessions[slot].reset(scene, seed)

    def begin_from(
        self, slot: int, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray, seed: int
    ) -> np.ndarray:
        raise UserError("this world begins at its own scenes alone; choose one of them instead of a clip")

    def step(self, actions: Mapping[int, dict[str, float]]) -> dict[int, Shown]:
        before = {slot: self.sessions[slot].snapshot() for slot in actions}
        try:
            return {slot: Shown(self.sessions[slot].step(action)) for slot, action in actions.items()}
        except BaseException:
            for slot, snapshot in before.items():
                self.sessions[slot].restore(snapshot)
            raise

    def snapshot(self, slot: int) -> object:
        return self.sessions[slot].snapshot()

    def restore(self, slot: int, snapshot: object) -> None:
        self.sessions[slot].restore(snapshot)

    def free(self, slot: int) -> None:
        """A session has nothing to give back: the next one in the slot begins anew."""
