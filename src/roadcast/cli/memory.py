"""What `roadcast info --memory` prints."""

from dataclasses import replace
from typing import TYPE_CHECKING

from roadcast.cli.console import say, show_facts, show_table, size
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.config import Config, StageConfig


def tell_memory(config: "Config", batch: int | None, frames: int | None, dtype: str) -> None:
    """Print the bytes of a training step of each stage in each mode of remat, and those of driving.

    batch, frames  of every stage, in place of the stage's own
    dtype          of the forward pass: float32, or bfloat16 under autocast
    """
    for name, value in (("batch", batch), ("frames", frames)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: give at least 1")
    stride = config.tokenizer.time_stride
    if frames is not None and frames % stride:
        raise UserError(f"--frames {frames}: give a multiple of tokenizer.time_stride {stride}")
    for name, stage in config.train.items():
        changes = {"batch": batch} if batch else {}
        changes |= {"clip_frames": frames, "curriculum": ()} if frames else {}
        tell_stage(config, name, replace(stage, **changes), dtype)
    tell_driving(config)


def tell_stage(config: "Config", name: str, stage: "StageConfig", dtype: str) -> None:
    """Print the table of one stage."""
    import torch

    from roadcast.config import REMAT_MODES
    from roadcast.training.memory import longest_clip, stage_memory

    counts = [stage_memory(config, replace(stage, remat=mode), getattr(torch, dtype)) for mode in REMAT_MODES]
    forward = "float32" if dtype == "float32" else f"{dtype} under autocast, weights float32"
    say(f"a training step of stage {name}: {stage.batch} clips of {longest_clip(stage)} frames, {forward}")
    rows = {
        "weights it does not train": [m.frozen for m in counts],
        "weights": [m.weights for m in counts],
        "gradients": [m.gradients for m in counts],
        "optimizer's moments": [m.optimizer for m in counts],
        "averaged weights": [m.average for m in counts],
        "clips": [m.batch for m in counts],
        "activations kept": [m.activations for m in counts],
        "peak of the step": [m.peak for m in counts],
    }
    head = [f"remat = {mode}{' (set)' if mode == stage.remat else ''}" for mode in REMAT_MODES]
    show_table([["", *head], *([what, *map(size, values)] for what, values in rows.items())])


def tell_driving(config: "Config") -> None:
    """Print what driving takes."""
    from roadcast.training.memory import driving_memory

    driving = driving_memory(config)
    session = max(driving.scene, driving.frame) + driving.stream
    say(f"driving, {config.dynamics.context_frames} frames remembered, {config.flow.steps} passes a frame, float32")
    facts = {"weights, for all sessions": size(driving.weights)}
    for dtype, bytes_ in driving.caches.items():
        facts[f"keys and values as {str(dtype).removeprefix('torch.')}"] = size(bytes_)
    facts |= {
        "decoder's stream": size(driving.stream),
        "working memory of a frame": size(driving.frame),
        "working memory of a scene's beginning": size(driving.scene),
        "one session in all, by type of cache": " / ".join(
            size(driving.weights + session + cache) for cache in driving.caches.values()
        ),
    }
    show_facts(facts, indent="  ")
    say("Counted tensor by tensor; what kernels take inside, and allocators keep in reserve, comes on top.")
