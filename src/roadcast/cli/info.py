"""`roadcast info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.console import say, show_facts, size
from roadcast.cli.data.info import tell_reel
from roadcast.cli.folders import kind_of, named, parameter_counts
from roadcast.cli.memory import tell_memory
from roadcast.errors import UserError
from roadcast.presets import PRESETS, preset_config

if TYPE_CHECKING:
    from roadcast.config import Config

JUDGES = {"features": "encoder of videos", "inverse": "reads commands back"}
"""Networks of a world that make nothing, and what they are."""


def info(
    path: str,
    /,
    memory: bool = False,
    batch: int | None = None,
    frames: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Tell what a folder is: a reel, a run, a world; or what a preset makes.

    Examples:
      roadcast info reels/mine       what `roadcast data info` tells
      roadcast info runs/mine        networks, and how far each stage of the training is
      roadcast info toyroad          the world that comes with roadcast
      roadcast info small            the preset's networks and stages
      roadcast info base --memory --batch 4 --dtype bfloat16

    Args:
        path: The folder, or the name of a preset or of the world that comes with roadcast.
        memory: Tell where the memory of training and of driving goes instead; nothing of it is taken to count it.
        batch: With --memory: clips a step, in place of each stage's own number.
        frames: With --memory: frames a clip, likewise.
        dtype: With --memory: what the forward pass computes in; bfloat16 is autocast, the weights staying float32.
    """
    folder = named(Path(path))
    if memory:
        tell_memory(config_of(path), batch, frames, dtype)
        return
    if batch is not None or frames is not None or dtype != "float32":
        raise UserError("--batch, --frames and --dtype ask about memory; add --memory")
    match kind_of(folder):
        case "reel":
            tell_reel(folder)
        case "run":
            tell_run(folder)
        case "world":
            tell_world(folder)
        case _ if path in PRESETS:
            say(f"preset {path}: {(PRESETS[path].__doc__ or '').strip()}")
            tell_config(preset_config(path))
        case _:
            raise UserError(unknown(path))


def unknown(path: str) -> str:
    """What to say of a path that is nothing we know."""
    what = "is no reel, run or world" if Path(path).exists() else "no such folder"
    return f"{path}: {what}; give the folder of one, or a preset: {', '.join(PRESETS)}"


def config_of(path: str) -> "Config":
    """The configuration of a run, a world or a preset; `UserError` for anything else."""
    from roadcast.config import load_config

    folder = named(Path(path))
    match kind_of(folder):
        case "run" | "world":
            return load_config(folder / "config.json")
        case "reel":
            raise UserError(f"{path}: is a reel, and --memory asks about networks; give a run, a world or a preset")
        case _ if path in PRESETS:
            return preset_config(path)
        case _:
            raise UserError(unknown(path))


def tell_run(folder: Path) -> None:
    """Print how far a run is."""
    from roadcast.config import load_config
    from roadcast.training.metrics import read_log

    config = load_config(folder / "config.json")
    finished = kind_of(folder / "world") == "world"
    say(
        f"{folder}: a run, "
        + ("finished" if finished else "not finished; give the same `roadcast train` command again to go on")
    )
    for name, stage in config.train.items():
        rows = read_log(folder / name / "log.jsonl")
        latest = {key: value for row in rows for key, value in row.items()}
        state = (
            "done"
            if (folder / name / "world" / "weights.safetensors").exists()
            else f"at step {latest['step']:.0f}"
            if rows
            else "not begun"
        )
        figures = ", ".join(
            f"{key} {latest[key]:.4g}" for key in ("loss", "val_loss", "psnr", "val_psnr") if key in latest
        )
        say(
            f"  stage {name}: {state} of {stage.steps} steps{f'; {figures}' if figures else ''}".replace(
                "done of", "done,"
            )
        )
    tell_config(config, stages=False)
    if finished:
        tell_scenes(folder / "world")


def tell_world(folder: Path) -> None:
    """Print what a world is made of."""
    from roadcast.config import load_config

    say(f"{folder}: a world, {size((folder / 'weights.safetensors').stat().st_size)}")
    tell_config(load_config(folder / "config.json"))
    tell_scenes(folder)


def tell_scenes(folder: Path) -> None:
    """Print the scenes a world can be started from."""
    from roadcast.training.scenes import load_scenes

    say("scenes")
    for number, name in enumerate(load_scenes(folder).names):
        say(f"  {number}  {name}")


def tell_config(config: "Config", stages: bool = True) -> None:
    """Print the networks of a configuration and, if asked, its stages."""
    counts = parameter_counts(config)
    data, tokenizer, dynamics = config.data, config.tokenizer, config.dynamics
    facts = {
        "pictures": f"{data.height}x{data.width} (height x width) at {data.fps:g} a second"
        + (f", reel {data.reel}" if data.reel else ""),
        "controls": ", ".join(dynamics.actions),
        "tokenizer": f"{counts['tokenizer'] / 1e6:.2f} M parameters, stride {tokenizer.stride} in space, "
        f"{tokenizer.time_stride} in time, {tokenizer.latent_channels} channels",
        "dynamics": f"{counts['dynamics'] / 1e6:.2f} M parameters, width {dynamics.width}, depth {dynamics.depth}, "
        f"{dynamics.context_frames} frames of context",
        **{name: f"{counts[name] / 1e6:.2f} M parameters, {what}" for name, what in JUDGES.items() if name in counts},
        "in all": f"{sum(counts.values()) / 1e6:.2f} M parameters",
        "sampling": f"{config.flow.steps} network passes a frame",
    }
    if stages:
        for name, stage in config.train.items():
            facts[f"stage {name}"] = (
                f"{stage.objective}, {stage.steps} steps of {stage.batch} clips of {stage.clip_frames} frames"
            )
    show_facts(facts, indent="  ")
