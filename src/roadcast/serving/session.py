"""One driver's world over a trained model: the rollout, the decoder's stream and the scene it began from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from roadcast.errors import UserError
from roadcast.flow.rollout import RolloutState
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.training.scenes import Scenes, load_scenes


class Session(Protocol):
    """What the driver's seat asks of a world, be it a model or the mock."""

    fps: float
    height: int
    width: int
    actions: tuple[str, ...]
    scenes: list[str]

    def reset(self, scene: int = 0, seed: int = 0) -> np.ndarray: ...

    def step(self, action: dict[str, float]) -> np.ndarray: ...

    def snapshot(self) -> object: ...

    def restore(self, snapshot: object) -> None: ...


@dataclass(frozen=True)
class Snapshot:
    """All that decides a session's future."""

    rollout: RolloutState
    stream: Stream


class ModelSession:
    """A world model being driven: `reset` to a scene, then one `step` a frame."""

    def __init__(self, world: World, scenes: Scenes, steps: int | None = None):
        if world.config.tokenizer.time_stride != 1:
            raise UserError(
                f"tokenizer.time_stride = {world.config.tokenizer.time_stride}: driving answers every frame, which takes a "
                "model with time_stride 1"
            )
        self.world, self.context = world, scenes
        self.rollout = world.rollout(steps)
        self.fps, self.height, self.width, self.actions = world.fps, world.height, world.width, world.actions
        self.scenes = scenes.names
        self.reset()

    @classmethod
    def open(
        cls, folder: Path, steps: int | None = None, device: str = "cpu", compiled: bool = False
    ) -> "ModelSession":
        """A session over the world in `folder` (or in `folder`/world, so that a run's own folder will do).

        steps     network passes a frame; None takes the world's own number
        compiled  let torch.compile write code for both networks: minutes the first time, then a third faster
        Raises `UserError` when there is no whole world.
        """
        folder = Path(folder)
        if (folder / "world" / "config.json").exists():
            folder = folder / "world"
        session = cls(World.load(folder, device), load_scenes(folder), steps)
        if compiled:
            session.world.dynamics.compile(dynamic=False)
            session.world.tokenizer.decoder.compile(dynamic=False)
            session.step({})
            session.reset()
        return session

    @torch.inference_mode()
    def reset(self, scene: int = 0, seed: int = 0) -> np.ndarray:
        """Begin at a scene's last frame; the same scene, seed and commands give the same frames, bit for bit."""
        if not 0 <= scene < len(self.scenes):
            raise UserError(f"scene {scene} does not exist; choose 0 to {len(self.scenes) - 1}")
        context = self.context
        frames, actions, known = (
            x[scene : scene + 1].to(self.world.device)
            for x in (context.frames_BFHWC, context.actions_BFA, context.known_BFA)
        )
        z_BTHWC = self.world.tokenizer.encode(frames)
        self.stream = Stream()
        shown = self.world.tokenizer.decode(z_BTHWC, self.stream)
        self.state = self.rollout.start(z_BTHWC, actions, known, [seed])
        return shown[0, -1].cpu().numpy()

    @torch.inference_mode()
    def step(self, action: dict[str, float]) -> np.ndarray:
        """The next frame [H, W, 3] uint8 under `action`; a control that is not named counts as unknown."""
        values = torch.tensor([[[action.get(name, 0.0) for name in self.actions]]], dtype=torch.float32)
        known = torch.tensor([[[name in action for name in self.actions]]])
        z_BTHWC: Tensor = self.rollout.step(self.state, values.to(self.world.device), known.to(self.world.device))
        return self.world.tokenizer.decode(z_BTHWC, self.stream)[0, -1].cpu().numpy()

    def snapshot(self) -> Snapshot:
        """The world as it stands now, to come back to or to branch from."""
        return Snapshot(self.state.clone(), self.stream.clone())

    def restore(self, snapshot: object) -> None:
        """Go on from a snapshot; the snapshot itself stays good for another time."""
        assert isinstance(snapshot, Snapshot)
        self.state, self.stream = snapshot.rollout.clone(), snapshot.stream.clone()
