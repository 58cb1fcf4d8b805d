"""`roadcast evaluate`."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.console import progress, say, show_table
from roadcast.cli.device import checked
from roadcast.cli.folders import parameter_counts, run_of, world_folder

if TYPE_CHECKING:
    from roadcast.data.reel.store import Reel
    from roadcast.evaluation.result import Result
    from roadcast.flow.world import World


def evaluate(
    world: Path,
    /,
    *,
    reel: Path,
    out: Path,
    split: Literal["train", "val", "test"] = "val",
    clips: int = 64,
    context: int = 16,
    horizon: int = 32,
    steps: int | None = None,
    steering_contexts: int = 32,
    seed: int = 0,
    batch: int = 8,
    fvd_weights: Path | None = None,
    frame_weights: Path | None = None,
    device: str = "cpu",
) -> None:
    """Measure how far a world can be trusted, and write a report that one can open in a browser.

    Examples:
      roadcast evaluate runs/mine --reel reels/mine --out runs/mine/evaluation
      roadcast evaluate runs/mine --reel reels/mine --split test --clips 200 --horizon 64 --out runs/mine/test
      roadcast evaluate runs/mine --reel reels/mine --clips 8 --horizon 16 --steering-contexts 8 --out /tmp/quick

    The world sees `context` real frames of held-out recordings and imagines `horizon` more under the recorded commands.
    Likeness, motion, sharpness, drift and collapse are measured beside their floors, each with its interval; the
    steering test asks whether it turns left when told left. Scores compare only under one protocol, kept in metrics.json.

    Args:
        world: A run's folder, or a world's.
        reel: The reel to judge by.
        out: Folder for report.html, metrics.json, table.md, clips.npz, strips.png and animation.webp.
        split: Which recordings; those of train are no judge.
        clips: Clips, evenly spread over the split.
        context: Real frames the world is given.
        horizon: Frames it imagines.
        steps: Network passes a frame; the world's own number when not given.
        steering_contexts: Clips of the steering test; 0 leaves it out.
        seed: Of the world's chance.
        batch: Clips imagined at once: speed and memory, not scores.
        fvd_weights: I3D's published weights (docs/evaluation.md); without them there is no FVD.
        frame_weights: SqueezeNet's published weights, for a Frechet distance of frames.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    result, report = run_evaluation(
        world, reel, out, split=split, clips=clips, context=context, horizon=horizon, steps=steps,
        steering_contexts=steering_contexts, seed=seed, batch=batch, device=device, fvd_weights=fvd_weights,
        frame_weights=frame_weights,
    )  # fmt: skip
    show_result(result)
    say(f"report: {report}")


def run_evaluation(
    world_path: Path, reel_path: Path, out: Path, *, device: str = "cpu", fvd_weights: Path | None = None,
    frame_weights: Path | None = None, **settings,
) -> "tuple[Result, Path]":  # fmt: skip
    """Evaluate with progress on the terminal, and save; the result and the path of its report."""
    folder = world_folder(world_path)
    from roadcast.data.reel.store import Reel
    from roadcast.evaluation.extractors import frame_extractor, fvd_extractor
    from roadcast.evaluation.runner import evaluate as evaluate_world
    from roadcast.flow.world import World

    extractors = []
    if fvd_weights is not None:
        extractors.append(fvd_extractor(fvd_weights, device=device))
    if frame_weights is not None:
        extractors.append(frame_extractor(frame_weights, device=device))
    world, reel = World.load(folder, checked(device)), Reel(reel_path)
    with progress() as show:
        result = evaluate_world(world, reel, **settings, extractors=extractors, progress=show)
    title = (run_of(folder) or folder).resolve().name
    return result, result.save(
        out, title=f"Evaluation of {title}", about=about(folder, world, reel), logs=training_logs(folder)
    )


def about(folder: Path, world: "World", reel: "Reel") -> dict[str, str]:
    """The facts at the head of a report."""
    import torch

    from roadcast import __version__

    parameters = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in parameter_counts(world.config).items())
    return {
        "world": str(folder),
        "parameters": parameters,
        "reel": f"{reel.path}, fingerprint {reel.fingerprint[:12]}",
        "roadcast": f"{__version__}, torch {torch.__version__}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
    }


def training_logs(world: Path) -> dict[str, list[dict]]:
    """The log of every stage, where the world still lies in its run's folder."""
    if (run := run_of(world)) is None:
        return {}
    from roadcast.config import load_config
    from roadcast.training.metrics import read_log

    return {
        name: rows for name in load_config(world / "config.json").train if (rows := read_log(run / name / "log.jsonl"))
    }


def show_result(result: "Result") -> None:
    """The metrics table, the steering test and the speed, on the terminal."""
    from roadcast.evaluation.metrics.catalogue import METRICS
    from roadcast.evaluation.report import NAMES
    from roadcast.evaluation.report_sets import NAMES as SETS
    from roadcast.evaluation.report_sets import TITLES, number

    horizons = result.protocol.horizons
    rows = [[f"{len(result.protocol.clips)} clips, frames ahead:", *map(str, horizons)]]
    for metric in map(METRICS.get, result.metrics):
        assert metric is not None
        for system, estimate in result.metrics[metric.name].items():
            halves = [(estimate.high[h - 1] - estimate.low[h - 1]) / 2 for h in horizons]
            cells = [
                f"{estimate.mean[h - 1]:.{metric.digits}f} +-{half:.{metric.digits}f}"
                for h, half in zip(horizons, halves)
            ]
            rows.append([f"{metric.title}, {NAMES[system]}", *cells])
    show_table(rows)
    for name, by_system in result.distributions.items():
        values = ", ".join(f"{SETS[system]} {number(d.frechet.mean)}" for system, d in by_system.items())
        say(f"{TITLES[name]} of {by_system['model'].count} rows: {values}")
    if (test := result.steering) is None:
        say(f"steering: {result.steering_note}")
    else:
        verdict = "steers the right way" if test.follows else "is not shown to steer the right way"
        steps = ", ".join(f"{step} p = {p:.2g}" for step, p in test.p_value.items())
        say(
            f"steering: {verdict} ({steps}; left > straight > right in {test.ordered:.0%} of {len(test.contexts)} contexts)"
        )
    say(f"speed: {result.seconds['imagined_frames_per_second']:.1f} imagined frames a second")
