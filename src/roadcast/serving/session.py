"""One driver's world over a trained model: the rollout, the decoder's stream and the scene it began from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from roadcast.errors import UserError
from roadcast.flow.driving import Drive, DrivingStep, fixed_copy, overwrite
from roadcast.flow.rollout import RolloutState
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.nn.quantize import KINDS, quantize
from roadcast.parallel.precision import dtype_for
from roadcast.serving.compiled import Step, compiled
from roadcast.training.scenes import Scenes, load_scenes

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    decoder: tuple[Tensor, ...]


class ModelSession:
    """A world model being driven: `reset` to a scene, then one `step` a frame.

    Its state lies in the same tensors from the first reset on, which every step moves on in place.
    """

    def __init__(self, world: World, scenes: Scenes, steps: int | None = None):
        if world.config.tokenizer.time_stride != 1:
            raise UserError(
                f"tokenizer.time_stride = {world.config.tokenizer.time_stride}: driving answers every frame, which takes a "
                "model with time_stride 1"
            )
        self.world, self.context = world, scenes
        self.rollout = world.rollout(steps)
        self.advance: Step = DrivingStep(self.rollout.sample, world.tokenizer)
        self.fps, self.height, self.width, self.actions = world.fps, world.height, world.width, world.actions
        self.scenes = scenes.names
        self.state, decoder, _ = self._begin(scene=0, seed=0)
        self.drive = fixed_copy(Drive(self.state.past, decoder))
        self.state.past = self.drive.rollout

    @classmethod
    def open(
        cls,
        folder: Path,
        steps: int | None = None,
        device: str = "cpu",
        compiled: bool = False,
        precision: str = "auto",
        weights: str = "full",
    ) -> "ModelSession":
        """A session over the world in `folder` (or in `folder`/world, so that a run's own folder will do).

        steps      network passes a frame; None takes the world's own number
        compiled   let torch.compile write code for the step: a minute or more at first, then about twice as fast
        precision  float32, bfloat16, float16, or auto (`fit_for`)
        weights    full, or rounded to eight bits: int8, int8_dynamic, fp8 (nn/quantize.py)
        Raises `UserError` when there is no whole world, or for an unknown choice.
        """
        folder = Path(folder)
        if (folder / "world" / "config.json").exists():
            folder = folder / "world"
        world = in_precision(World.load(folder, device), precision, weights)
        session = cls(world, load_scenes(folder), steps)
        if compiled:
            session.compile()
        return session

    def compile(self) -> None:
        """Let torch.compile write code for the step; the session goes on from where it is."""
        assert isinstance(self.advance, DrivingStep), "a session is compiled once"
        draft = self.rollout.draft(self.state.clone(), *self._command({}))
        self.advance = compiled(self.advance, self.drive, draft)

    def reset(self, scene: int = 0, seed: int = 0) -> np.ndarray:
        """Begin at a scene's last frame; the same scene, seed and commands give the same frames, bit for bit."""
        if not 0 <= scene < len(self.scenes):
            raise UserError(f"scene {scene} does not exist; choose 0 to {len(self.scenes) - 1}")
        state, decoder, shown = self._begin(scene, seed)
        self._go_on(state, decoder)
        return shown

    @torch.no_grad()
    def step(self, action: dict[str, float]) -> np.ndarray:
        """The next frame [H, W, 3] uint8 under `action`; a control that is not named counts as unknown."""
        draft = self.rollout.draft(self.state, *self._command(action))
        return self.advance(self.drive, draft)[0, -1].cpu().numpy()

    def snapshot(self) -> Snapshot:
        """The world as it stands now, to come back to or to branch from."""
        return Snapshot(self.state.clone(), fixed_copy(self.drive.decoder))

    def restore(self, snapshot: object) -> None:
        """Go on from a snapshot; the snapshot itself stays good for another time."""
        assert isinstance(snapshot, Snapshot)
        self._go_on(snapshot.rollout.clone(), snapshot.decoder)

    def _command(self, action: dict[str, float]) -> tuple[Tensor, Tensor]:
        """One frame's commands and which are known, [1, 1, A]."""
        values = torch.tensor([[[action.get(name, 0.0) for name in self.actions]]], dtype=torch.float32)
        known = torch.tensor([[[name in action for name in self.actions]]])
        return values.to(self.world.device), known.to(self.world.device)

    @torch.no_grad()
    def _begin(self, scene: int, seed: int) -> tuple[RolloutState, tuple[Tensor, ...], np.ndarray]:
        """The rollout's state and the decoder's past at the end of a scene, and its last frame."""
        context = self.context
        frames, actions, known = (
            x[scene : scene + 1].to(self.world.device)
            for x in (context.frames_BFHWC, context.actions_BFA, context.known_BFA)
        )
        z_BTHWC, stream = self.world.tokenizer.encode(frames), Stream()
        shown = self.world.tokenizer.decode(z_BTHWC, stream)
        return self.rollout.start(z_BTHWC, actions, known, [seed]), stream.past, shown[0, -1].cpu().numpy()

    def _go_on(self, state: RolloutState, decoder: tuple[Tensor, ...]) -> None:
        """Go on from this state, in the tensors where the session has its own."""
        overwrite(self.drive, Drive(state.past, decoder))
        self.state = state
        self.state.past = self.drive.rollout


def fit_for(device: torch.device) -> torch.dtype:
    """What a world is driven in on a device: bfloat16 on a CPU with units for it (AMX), float32 on others, and on a GPU the fastest, by
    measuring it.

    On a CPU nothing is measured, so that a world's frames are the same from one start to the next.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in every PyTorch
    return torch.bfloat16 if device.type == "cpu" and capabilities.get("amx_bf16") else dtype_for("auto", device)


def in_precision(world: World, precision: str, weights: str) -> World:
    """`world`, its networks in one of PRECISIONS ("auto": `fit_for`), their weights "full" or of one of KINDS.

    Latents and their statistics stay float32. Raises `UserError` for an unknown choice.
    """
    if precision not in ("auto", *PRECISIONS):
        raise UserError(f"precision {precision!r} is unknown; choose one of auto, {', '.join(PRECISIONS)}")
    if weights not in ("full", *KINDS):
        raise UserError(f"weights {weights!r} are unknown; choose one of full, {', '.join(KINDS)}")
    dtype = fit_for(world.device) if precision == "auto" else PRECISIONS[precision]
    for network in (world.dynamics, world.tokenizer.encoder, world.tokenizer.decoder):
        network.to(dtype)
        if weights == "int8" or (weights != "full" and network is world.dynamics):
            quantize(network, weights)
    return world
