"""Golden rollouts: a few frames that a version made when it was pushed, to be made again before it has traffic."""

from dataclasses import dataclass
from math import pi, sin
from pathlib import Path

import numpy as np
import torch

from roadcast.data.actions import ACTIONS
from roadcast.evaluation.steering import LATERAL_CONTROLS, lateral_control
from roadcast.safetensors import load_tensors, save_tensors
from roadcast.serving.session import Session

GOLDEN = "golden.safetensors"
ROLLOUTS, FRAMES = 2, 8


@dataclass(frozen=True)
class Golden:
    """N rollouts of F commands.

    scenes_N, seeds_N  where each begins
    commands_NFA       in the order of the session's controls; NaN: not given
    frames_NFHWC       uint8 RGB, F + 1 of them: the scene's last frame comes first
    """

    scenes_N: np.ndarray
    seeds_N: np.ndarray
    commands_NFA: np.ndarray
    frames_NFHWC: np.ndarray

    def save(self, path: Path) -> None:
        """Write the rollouts as tensors."""
        save_tensors(path, {name: torch.from_numpy(array) for name, array in vars(self).items()})

    @classmethod
    def load(cls, path: Path) -> "Golden":
        """Rollouts that were saved; `UserError` where there are none."""
        return cls(**{name: tensor.numpy() for name, tensor in load_tensors(path).items()})


def record(session: Session, rollouts: int = ROLLOUTS, frames: int = FRAMES) -> Golden:
    """Drive from the first scenes, one swing to the left and one to the right; the session is left somewhere else."""
    scenes_N = np.arange(min(rollouts, len(session.scenes)))
    swing_FA = np.array([[swing(name, session.actions, f / frames) for name in session.actions] for f in range(frames)])
    commands_NFA = np.repeat(swing_FA[None].astype(np.float32), len(scenes_N), axis=0)
    made = Golden(scenes_N, 1 + scenes_N, commands_NFA, np.zeros(0, np.uint8))
    return Golden(made.scenes_N, made.seeds_N, made.commands_NFA, replay(session, made))


def replay(session: Session, golden: Golden) -> np.ndarray:
    """The frames [N, F + 1, H, W, 3] that the session makes of the same beginnings and commands."""
    rollouts = []
    for scene, seed, commands_FA in zip(golden.scenes_N, golden.seeds_N, golden.commands_NFA, strict=True):
        frames = [session.reset(int(scene), int(seed))]
        frames += [session.step(command(session.actions, values)) for values in commands_FA]
        rollouts.append(np.stack(frames))
    return np.stack(rollouts)


def difference(frames_NFHWC: np.ndarray, golden: Golden) -> float:
    """The mean difference of the frame that differs most, in grey levels; infinite where sizes differ."""
    if frames_NFHWC.shape != golden.frames_NFHWC.shape:
        return float("inf")
    levels = np.abs(frames_NFHWC.astype(np.int16) - golden.frames_NFHWC).mean(axis=(2, 3, 4))
    return float(levels.max())


def swing(name: str, actions: tuple[str, ...], when: float) -> float:
    """The value of a control at `when` in [0, 1] of a rollout: the steering a full sine, the others steady; rivals are not given."""
    if name in LATERAL_CONTROLS:
        return ACTIONS[name].scale * sin(2 * pi * when) if name == lateral_control(actions) else float("nan")
    return 0.0 if name in ("brake", "acceleration") else ACTIONS[name].scale


def command(actions: tuple[str, ...], values_A: np.ndarray) -> dict[str, float]:
    """One frame's command as a session takes it."""
    return {name: float(value) for name, value in zip(actions, values_A, strict=True) if not np.isnan(value)}
