"""`roadcast evaluate`."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from roadcast.cli.console import progress, say, show_table
from roadcast.cli.device import checked
from roadcast.cli.folders import parameter_counts, run_of, world_folder
from roadcast.errors import UserError

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
    protocol: Literal["nuscenes-25", "nuscenes-1646"] | None = None,
    steering_contexts: int = 32,
    action_contexts: int = 32,
    seed: int = 0,
    batch: int = 8,
    judge: Path | None = None,
    depth_weights: str | None = None,
    lpips_weights: tuple[str, ...] = (),
    fvd_weights: str | None = None,
    fid_weights: str | None = None,
    frame_weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Measure how far a world can be trusted, and write a report that one can open in a browser.

    Examples:
      roadcast evaluate runs/mine --reel reels/mine --out runs/mine/evaluation
      roadcast evaluate runs/mine --reel reels/mine --split test --clips 200 --horizon 64 --out runs/mine/test
      roadcast evaluate runs/mine --reel reels/mine --judge runs/judge --out runs/mine/judged
      roadcast evaluate runs/mine --reel reels/nuscenes --protocol nuscenes-25 --fvd-weights i3d_torchscript.pt --out runs/mine/fvd
      roadcast evaluate runs/mine --reel reels/mine --clips 8 --horizon 16 --steering-contexts 8 --action-contexts 0 --out /tmp/quick

    The world sees `context` real frames of held-out recordings and imagines `horizon` more under the recorded commands.
    Likeness, motion, sharpness, depth, drift and collapse are measured beside their floors, each with its interval; then it is
    asked whether it turns left when told left, goes faster when told to, and does better when told the truth. Scores compare
    only under one protocol, kept in metrics.json. docs/evaluation.md tells of all of it. Weights are given by path, or as
    https://...#sha256=HEX: fetched once, and checked.

    Args:
        world: A run's folder, or a world's.
        reel: The reel to judge by.
        out: Folder for report.html, metrics.json, table.md, clips.npz, strips.png and animation.webp.
        split: Which recordings; those of train are no judge.
        clips: Clips, evenly spread over the split.
        context: Real frames the world is given.
        horizon: Frames it imagines.
        steps: Network passes a frame; the world's own number when not given.
        protocol: A published one (docs/published.md), which sets split, clips, context and horizon.
        steering_contexts: Clips of the tests of steering and pedals; 0 leaves them out.
        action_contexts: Clips of the test of true against other commands; 0 leaves it out.
        seed: Of the world's chance.
        batch: Clips imagined at once: speed and memory, not scores.
        judge: Run of recipes/judge.toml: it reads commands back from video, and compares videos as sets.
        depth_weights: Depth Pro's published checkpoint; the small network that comes with roadcast when not given.
        lpips_weights: LPIPS's published heads and back-bone, two files or one with both; without them there is no LPIPS.
        fvd_weights: I3D's published weights; without them there is no FVD.
        fid_weights: Inception's published weights; without them there is no FID.
        frame_weights: SqueezeNet's published weights, for a Frechet distance of frames.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    sizes = {"split": split, "clips": clips, "context": context, "horizon": horizon}
    if protocol is not None:
        sizes = published_sizes(protocol, world)
    result, report = run_evaluation(
        world, reel, out, **sizes, steps=steps, steering_contexts=steering_contexts, action_contexts=action_contexts, seed=seed,
        batch=batch, judge=judge, depth_weights=depth_weights, lpips_weights=lpips_weights,
        fvd_weights=fvd_weights, fid_weights=fid_weights, frame_weights=frame_weights, device=device,
    )  # fmt: skip
    show_result(result)
    say(f"report: {report}")


def published_sizes(protocol: str, world: Path) -> dict:
    """Split, clips, context and horizon of a published protocol; `UserError` where it has another rate than the world."""
    from roadcast.config import load_config
    from roadcast.evaluation.published import PROTOCOLS

    preset, fps = PROTOCOLS[protocol], load_config(world_folder(world) / "config.json").data.fps
    if fps != preset.fps:
        raise UserError(
            f"{world}: makes {fps:g} frames a second and {protocol} has {preset.fps:g}; no score of it would be one"
        )
    return {"split": preset.split, "clips": preset.clips, "context": preset.context, "horizon": preset.horizon}


def parts_of_judge(world: Path) -> dict[str, Path]:
    """The world's folder, by each network in it that judges others; `UserError` where there is none."""
    from roadcast.config import load_config

    config = load_config(world / "config.json")
    found = {"features": config.features.depth, "inverse": config.inverse.width}
    if not any(found.values()):
        raise UserError(f"{world}: this world has nothing to judge by; train a judge with recipes/judge.toml")
    return {name: world for name, size in found.items() if size}


def run_evaluation(
    world_path: Path, reel_path: Path, out: Path, *, split: str = "val", judge: Path | None = None,
    depth_weights: str | None = None, lpips_weights: tuple[str, ...] = (), fvd_weights: str | None = None,
    fid_weights: str | None = None, frame_weights: str | None = None, device: str = "cpu", **settings,
) -> "tuple[Result, Path]":  # fmt: skip
    """Evaluate with progress on the terminal, and save; the result and the path of its report."""
    folder = world_folder(world_path)
    from roadcast.data.reel.store import Reel
    from roadcast.download import local
    from roadcast.evaluation.learned import depth_measure
    from roadcast.evaluation.runner import evaluate as evaluate_world
    from roadcast.flow.world import World

    device = checked(device)
    world, reel = World.load(folder, device), Reel(reel_path)
    eyes = lookers(
        judge=judge, lpips_weights=lpips_weights, fvd_weights=fvd_weights, fid_weights=fid_weights,
        frame_weights=frame_weights, device=device,
    )  # fmt: skip
    eyes["measures"].append(depth_measure(reel, split, local(depth_weights) if depth_weights else None, device))
    with progress() as show:
        result = evaluate_world(world, reel, split=split, progress=show, **eyes, **settings)
    title = (run_of(folder) or folder).resolve().name
    return result, result.save(
        out, title=f"Evaluation of {title}", about=about(folder, world, reel), logs=training_logs(folder)
    )


def lookers(
    *, judge: Path | None = None, lpips_weights: tuple[str, ...] = (), fvd_weights: str | None = None,
    fid_weights: str | None = None, frame_weights: str | None = None, device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """The networks that look at what a world makes, as arguments of an evaluation: `judge`, `measures` and `extractors`."""
    from roadcast.download import local
    from roadcast.evaluation.extractors import fid_extractor, frame_extractor, fvd_extractor, jepa_extractor
    from roadcast.evaluation.learned import lpips_measure

    judges = {} if judge is None else parts_of_judge(world_folder(judge))
    given = {
        fvd_extractor: fvd_weights, fid_extractor: fid_weights, frame_extractor: frame_weights,
        jepa_extractor: judges.get("features"),
    }  # fmt: skip
    return {
        "judge": judges.get("inverse"),
        "measures": [lpips_measure([local(part) for part in lpips_weights], device)] if lpips_weights else [],
        "extractors": [make(local(where), device=device) for make, where in given.items() if where is not None],
    }


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
    from roadcast.evaluation.report.page import NAMES
    from roadcast.evaluation.report.sets import NAMES as SETS
    from roadcast.evaluation.report.sets import number, title

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
        say(f"{title(name)} of {by_system['model'].count} rows: {values}")
    if (test := result.steering) is None:
        say(f"steering: {result.steering_note}")
    else:
        verdict = "steers the right way" if test.follows else "is not shown to steer the right way"
        steps = ", ".join(f"{step} p = {p:.2g}" for step, p in test.p_value.items())
        say(
            f"steering: {verdict} ({steps}; left > straight > right in {test.ordered:.0%} of {len(test.contexts)} contexts)"
        )
    if (test := result.pedals) is None:
        say(f"pedals: {result.pedals_note}")
    else:
        verdict = "answers to its pedals" if test.follows else "is not shown to answer to its pedals"
        say(f"pedals: {verdict} ({' > '.join(test.sides)} in {test.ordered:.0%} of {len(test.contexts)} contexts)")
    if (found := result.actions) is not None:
        gains = ", ".join(f"{e.mean:+.2f} dB against {given} ones" for given, e in found.gain.items())
        say(f"true commands: {gains}")
        for control, r in found.read_back["model"].items():
            say(
                f"read back: {control} with an error of {r.error.mean:.3f}, {found.read_back['real'][control].error.mean:.3f} on real video"
            )
    say(f"speed: {result.seconds['imagined_frames_per_second']:.1f} imagined frames a second")
