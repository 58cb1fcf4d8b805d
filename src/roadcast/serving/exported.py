"""Driving an exported world: two compiled graphs and a few tensors, without a line of the model's own code.

This file is also the recipe for a loader in another language: what is drawn, in what order, and what goes where.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._inductor import aoti_load_package

from roadcast.errors import UserError
from roadcast.safetensors import load_tensors

SCHEMA = 1
ABOUT, SCENES, START, STEP = "step.json", "scenes.safetensors", "start.pt2", "step.pt2"


@dataclass(frozen=True)
class ExportedSnapshot:
    """All that decides an exported session's future: its state, and where its noise generator stands."""

    state: list[Tensor]
    noise: Tensor


class ExportedSession:
    """One driver's world over exported graphs, a `Session` like `ModelSession`, and with its frames to a grey level.

    about   what step.json says (docs/export.md)
    scenes  frames uint8 [N, F, H, W, 3], actions float32 and known bool [N, F, A]
    start   start(frames, actions, known, *noise) -> frame, *state
    step    step(*state, actions, known, *noise) -> frame; the state moves on in place
    """

    def __init__(self, about: dict, scenes: dict[str, Tensor], start: Callable, step: Callable):
        self._about, self._clips, self._start, self._step = about, scenes, start, step
        self.fps, self.height, self.width = about["fps"], about["height"], about["width"]
        self.actions = tuple(action["name"] for action in about["actions"])
        self.scenes: list[str] = about["scenes"]
        self._state = [
            torch.empty(x["shape"], dtype=getattr(torch, x["dtype"]), device=about["device"])
            for x in about["step"]["state"]
        ]
        self.reset()

    @classmethod
    def open(cls, folder: Path) -> "ExportedSession":
        """The world that `roadcast export` wrote to `folder`. Its graphs are machine code: open only what you trust.

        Raises `UserError` when it is no such folder, or was made for another machine or version of torch.
        """
        folder = Path(folder)
        about, scenes = read_about(folder / ABOUT), load_tensors(folder / SCENES)
        start, step = (_load_graph(folder / name, about) for name in (START, STEP))
        return cls(about, scenes, start, step)

    @torch.no_grad()
    def reset(self, scene: int = 0, seed: int = 0) -> np.ndarray:
        """Begin at a scene's last frame; the same scene, seed and commands give the same frames, bit for bit."""
        if not 0 <= scene < len(self.scenes):
            raise UserError(f"scene {scene} does not exist; choose 0 to {len(self.scenes) - 1}")
        self._noise = torch.Generator().manual_seed(seed)
        clip = [
            self._clips[x["name"]][scene : scene + 1].to(self._about["device"]) for x in self._about["start"]["clip"]
        ]
        frame_HWC, *state = self._start(*clip, *self._draw("start"))
        for ours, fresh in zip(
            self._state, state, strict=True
        ):  # a copy: the graph may have handed out its own constants
            ours.copy_(fresh)
        return frame_HWC.cpu().numpy()

    @torch.no_grad()
    def step(self, action: dict[str, float]) -> np.ndarray:
        """The next frame [H, W, 3] uint8 under `action`; a control that is not named counts as unknown."""
        values = torch.tensor([[[action.get(name, 0.0) for name in self.actions]]], dtype=torch.float32)
        known = torch.tensor([[[name in action for name in self.actions]]])
        command = (x.to(self._about["device"]) for x in (values, known))
        return self._step(*self._state, *command, *self._draw("step")).cpu().numpy()

    def snapshot(self) -> ExportedSnapshot:
        """The world as it stands now, to come back to or to branch from."""
        return ExportedSnapshot([x.clone() for x in self._state], self._noise.get_state())

    def restore(self, snapshot: object) -> None:
        """Go on from a snapshot; the snapshot itself stays good for another time."""
        assert isinstance(snapshot, ExportedSnapshot)
        for ours, kept in zip(self._state, snapshot.state, strict=True):
            ours.copy_(kept)
        self._noise.set_state(snapshot.noise)

    def _draw(self, graph: str) -> list[Tensor]:
        """The noise a graph asks for, N(0, 1), on the CPU, one tensor after another from the session's one generator."""
        shapes = [x["shape"] for x in self._about[graph]["noise"]]
        return [torch.randn(shape, generator=self._noise).to(self._about["device"]) for shape in shapes]


def read_about(path: Path) -> dict:
    """What step.json says; `UserError` when there is none, or one of a schema this version does not read."""
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a folder that `roadcast export` wrote") from None
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        found = about.get("schema") if isinstance(about, dict) else None
        raise UserError(f"{path}: schema = {found!r}, this version reads {SCHEMA}; export the world again")
    return about


def _load_graph(path: Path, about: dict) -> Callable:
    try:
        return aoti_load_package(str(path))
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: cannot be loaded ({reason}); it was made by torch {about['torch']} for {about['device']}, and this is "
            f"torch {torch.__version__}: export the world again on this machine"
        ) from None
