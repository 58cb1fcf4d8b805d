"""The rungs from a world of many network passes a frame down to one of few, as a run's configuration."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roadcast.config import Config, StageConfig
from roadcast.errors import UserError


def ladder(world: Path, config: Config, passes: Sequence[int], steps: int, method: str = "self_forcing") -> Config:
    """The configuration that takes a finished world down to each of `passes` passes a frame, one stage after another.

    Every stage begins with the finished world: by way of more passes, a world of few comes out no better for more steps (LOG.md).

    world   the folder of the finished world, of configuration `config`
    passes  falling
    steps   of training, for each
    method  the objective: self_forcing, consistency, shortcut or mean_flow
    Raises `UserError` for passes that do not fall, or a world whose dynamics were never trained.
    """
    if not passes or list(passes) != sorted(set(passes), reverse=True) or passes[-1] < 1:
        raise UserError(f"steps {','.join(map(str, passes))}; give falling numbers of passes, for example 4,2,1")
    before = last_dynamics(config)
    dynamics = replace(
        config.dynamics, step_embedding=config.dynamics.step_embedding or method in ("shortcut", "mean_flow")
    )
    return replace(
        config,
        start=str(world.resolve()),
        dynamics=dynamics,
        train={f"{method}_{n}": rung(before, n, steps, method) for n in passes},
        guard=replace(config.guard, anomaly="off"),  # it would take the student's steps, one in several, for anomalies
    )


def rung(before: StageConfig, passes: int, steps: int, method: str) -> StageConfig:
    """One stage, batches as in the stage that trained the dynamics, at a twentieth of its rate of learning: critic and teacher differ
    by little, and steps of a size that is right for learning from nothing are mostly noise (LOG.md).

    The average is over a twentieth of the steps, so that little of the finished world is left in it. Self-Forcing imagines twice as far in
    its second half, has gradients through all passes of a frame, and a teacher that goes on learning.
    """
    options: dict[str, float | str] = {"steps": passes}
    frames = max(before.clip_frames, 16)
    if method == "self_forcing":
        options |= {"critic_first": steps // 10, "exit": "all", "teacher_learns": 1}
    return StageConfig(
        objective=method,
        options=options,
        from_start=True,
        steps=steps,
        batch=before.batch,
        accumulate=before.accumulate,
        clip_frames=frames,
        curriculum=((0, frames), (steps // 2, 2 * frames)) if method == "self_forcing" else (),
        lr=before.lr / 20,
        lr_final=before.lr / 2000,
        warmup=min(100, steps // 10),
        ema=min(before.ema, max(0.9, 1 - 5 / steps)),
        evaluate_every=max(1, steps // 4),
        save_every=max(1, steps // 8),
    )


def last_dynamics(config: Config) -> StageConfig:
    """The stage that trained the dynamics last; `UserError` where there is none."""
    stages = [stage for stage in config.train.values() if stage.objective != "tokenizer"]
    if not stages:
        raise UserError(
            "the world's configuration has no stage that trained its dynamics; distil a world that was trained"
        )
    return stages[-1]
