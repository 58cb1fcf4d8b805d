"""The rungs of a ladder side by side: what fewer network passes a frame cost and buy, by one protocol for all."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.extractors import Extractor, ending_at
from roadcast.evaluation.measures import Measure, Rows
from roadcast.evaluation.protocol import make_protocol, read_clips
from roadcast.evaluation.result import Result
from roadcast.evaluation.runner import evaluate
from roadcast.evaluation.sweep import Progress
from roadcast.evaluation.systems import Scene
from roadcast.files import sha256, write_file
from roadcast.flow.world import World

HORIZONS = (8, 16, 32, 64)
"""Frames ahead at which rungs are compared, as far as the rollout goes."""
PIECE = 8
"""Frames of the clips that a Frechet distance at a horizon is of: those that end there."""


@dataclass(frozen=True)
class Rung:
    """A finished world's folder, driven in so many passes a frame, and what tables call it."""

    name: str
    world: Path
    passes: int


@dataclass(frozen=True)
class Column:
    """A figure of a rung: its name in JSON, its title in tables, its digits there."""

    name: str
    title: str
    digits: int


def columns(horizons: Sequence[int]) -> list[Column]:
    """The figures that rungs are compared by, in the order of tables."""
    near, far = horizons[0], horizons[-1]
    return [
        *(Column(f"frechet_{h}", f"Frechet at {h}", 3) for h in horizons),
        Column(f"precision_{far}", f"precision at {far}", 2),
        Column(f"recall_{far}", f"recall at {far}", 2),
        *(Column(f"fvd_{h}", f"FVD at {h}", 0) for h in horizons if h >= 16),
        Column(f"psnr_{near}", f"PSNR at {near}, dB", 2),
        Column(f"ssim_{near}", f"SSIM at {near}", 3),
        Column(f"lpips_{near}", f"LPIPS at {near}", 3),
        *(Column(f"motion_{h}", f"motion at {h}, x real", 2) for h in (near, far)),
        *(Column(f"sharpness_{h}", f"sharpness at {h}, x real", 2) for h in (near, far)),
        Column("psnr_drift", "PSNR drift, dB/s", 2),
        Column("steering", "steering, rank correlation", 2),
        Column("steering_error", "steering read back, error", 3),
        Column("collapsed", "collapsed", 2),
        Column("ms_dynamics", "ms a frame, dynamics", 1),
        Column("ms_decoder", "decoder", 1),
    ]


def climb(
    rungs: Sequence[Rung], reel: Reel, folder: Path, device: str = "cpu", *, seed: int = 0, progress: Progress | None = None,
    **settings: Any,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """The figures of each rung by its name; each leaves its evaluation and rung.json in `folder`/NAME.

    A rung that was measured before, of the same weights, passes, reel, seed and settings, is not measured again; times are taken anew, of
    all rungs in turn, so that what else the machine does falls on all of them.
    settings  as `measured` has them
    """
    figures = {}
    for rung in rungs:
        where = folder / "".join(c if c.isalnum() else "-" for c in rung.name)
        networks = [extractor.identity for extractor in settings.get("extractors", ())]
        plain = {name: value for name, value in settings.items() if isinstance(value, str | int)}
        asked = plain | {
            "weights": sha256(rung.world / "weights.safetensors"), "passes": rung.passes, "reel": reel.fingerprint,
            "seed": seed, "networks": networks,
        }  # fmt: skip
        if (kept := where / "rung.json").exists() and (told := json.loads(kept.read_text()))["asked"] == asked:
            figures[rung.name] = told["figures"]
            continue
        world = World.load(rung.world, device)
        figures[rung.name], result = measured(world, reel, rung.passes, seed=seed, progress=progress, **settings)
        result.save(where, title=f"Evaluation of {rung.name}")
        text = json.dumps({"asked": asked, "figures": figures[rung.name]}, indent=1) + "\n"
        write_file(kept, lambda beside, text=text: beside.write_text(text))
    times = timed(rungs, reel, device, *(settings[name] for name in ("split", "context", "horizon")))
    return {name: told | times[name] for name, told in figures.items()}


def measured(
    world: World,
    reel: Reel,
    passes: int,
    *,
    split: str,
    clips: int,
    context: int,
    horizon: int,
    seed: int = 0,
    batch: int = 16,
    steering_contexts: int = 8,
    judge: Path | None = None,
    measures: Sequence[Measure] = (),
    extractors: Sequence[Extractor] = (),
    progress: Progress | None = None,
) -> tuple[dict[str, float], Result]:
    """The figures of one rung by the names of `columns`, those alone that there are networks for, and the evaluation they come from.

    extractors  each is asked for the PIECE frames, or for FVD the 16, that end at each of HORIZONS within `horizon`
    The rest is as `evaluate` has it; `judge` is a world's folder that reads steering
    back from what was made (recipes/judge.toml).
    """
    horizons = [h for h in HORIZONS if h <= horizon]
    parts = [
        ending_at(extractor, h, 16 if extractor.name == "fvd" else PIECE)
        for extractor in extractors
        for h in horizons
        if h >= (16 if extractor.name == "fvd" else PIECE)
    ]
    reader = None if judge is None else SteeringReader(judge, world)
    result = evaluate(
        world, reel, split=split, clips=clips, context=context, horizon=horizon, steps=passes, seed=seed, batch=batch,
        steering_contexts=steering_contexts, measures=[*measures, *([Measure((), reader)] if reader else [])],
        extractors=parts, progress=progress,
    )  # fmt: skip
    told: dict[str, float] = {}
    for name, by_system in result.distributions.items():
        kind, _, at = name.partition("@")
        told[f"{kind.removeprefix('jepa_')}_{at}"] = by_system["model"].frechet.mean
        told[f"real_{kind.removeprefix('jepa_')}_{at}"] = by_system["real"].frechet.mean
        if kind == "jepa_frechet":
            told |= {f"precision_{at}": by_system["model"].precision, f"recall_{at}": by_system["model"].recall}
    for name in ("psnr", "ssim", "lpips", "motion", "sharpness"):
        for h in horizons:
            if name in result.metrics:
                told[f"{name}_{h}"] = float(result.metrics[name]["model"].mean[h - 1])
    told["psnr_drift"] = float(result.drift["psnr"]["model"].mean)
    told["collapsed"] = max(result.collapse["model"].values())
    if result.steering is not None:
        told["steering"] = result.steering.spearman
    if reader is not None:
        told["steering_error"], told["real_steering_error"] = reader.error("model"), reader.error("real")
    return told, result


class SteeringReader:
    """Keeps how far the steering that a judge (evaluation/judge.py) reads from the model's and the real video is from what was commanded,
    in the control's unit; a measure that gives no metric."""

    systems = ("model", "real")

    def __init__(self, folder: Path, driven: World):
        judge = World.load(folder, str(driven.device)).inverse
        if judge is None or "steer" not in judge.actions or "steer" not in driven.actions:
            raise UserError(
                f"{folder}: reads no steering, or the world takes none; train a judge with recipes/judge.toml"
            )
        self.judge = judge
        self.read_at, self.told_at = judge.actions.index("steer"), driven.actions.index("steer")
        self.missed: dict[str, list[np.ndarray]] = {}

    def __call__(self, scene: Scene) -> dict[str, Rows]:
        context = scene.clip.actions_BFA.shape[1] - scene.systems["real"].shown_BHHWC.shape[1]
        for system in self.systems:
            seen = scene.systems[system]
            read = self.judge.read(seen.after(self.judge.past + 1))[..., self.read_at]
            told = slice(context, context + read.shape[1])
            missed = (read - scene.clip.actions_BFA[:, told, self.told_at]).abs()
            missed = missed[scene.clip.known_BFA[:, told, self.told_at]]
            self.missed.setdefault(system, []).append(missed.numpy())
        return {system: [] for system in scene.systems}

    def error(self, system: str) -> float:
        """Mean absolute error over all frames whose command is known."""
        return float(np.concatenate(self.missed[system]).mean())


@torch.no_grad()
def timed(
    rungs: Sequence[Rung], reel: Reel, device: str, split: str, context: int, horizon: int, rounds: int = 3, frames: int = 12
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Median milliseconds of one frame of one driver, by rung: the dynamics' passes, and the decoder, which is the same for all."""
    spans: dict[str, list[tuple[float, float]]] = {rung.name: [] for rung in rungs}
    for _ in range(rounds):
        for rung in rungs:
            world = World.load(rung.world, device)
            asked = make_protocol(
                world, reel, split=split, clips=2, context=context, horizon=horizon, steps=rung.passes, seed=0
            )
            clip = read_clips(reel, asked, [0]).to(world.device)
            assert clip.frames_BFHWC is not None
            z = world.tokenizer.encode(clip.frames_BFHWC[:, :context])
            made = world.rollout(rung.passes).unroll(z, clip.actions_BFA, clip.known_BFA, [0])
            for _ in range(min(frames, horizon)):
                times = [clock(world)]
                z_next = next(made)
                times.append(clock(world))
                world.tokenizer.decode(z_next)
                times.append(clock(world))
                spans[rung.name].append((times[1] - times[0], times[2] - times[1]))
    return {
        name: {f"ms_{part}": 1000 * statistics.median(one) for part, one in zip(("dynamics", "decoder"), zip(*both))}
        for name, both in spans.items()
    }


def clock(world: World) -> float:
    """Seconds, once all that was asked of the device is done."""
    if world.device.type == "cuda":
        torch.cuda.synchronize(world.device)
    return time.perf_counter()


def table(rungs: Mapping[str, Sequence[Mapping[str, float]]], horizon: int) -> list[list[str]]:
    """A row a rung and a column a figure, mean +- standard deviation over the rung's runs; figures that no rung has are left out."""
    horizons = [h for h in HORIZONS if h <= horizon]
    present = [c for c in columns(horizons) if any(c.name in row for rows in rungs.values() for row in rows)]
    return [["passes a frame", *(c.title for c in present)]] + [
        [name, *(cell([row[c.name] for row in rows if c.name in row], c.digits) for c in present)]
        for name, rows in rungs.items()
    ]


def cell(values: Sequence[float], digits: int) -> str:
    """Mean +- standard deviation, the mean alone where there is one value, and a dash where there is none."""
    if not values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +-{np.std(values, ddof=1):.{digits}f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table in Markdown."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def summary(teacher: Sequence[Mapping[str, float]], one_step: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the ladder is judged by: ratios of means of the rung of one pass to the teacher.

    one_step_over_teacher_hN  of Frechet distances at each horizon; under 1 the rung is nearer to real video
    speedup                   time of a frame, the dynamics alone;  speedup_with_decoder: and with what all rungs share
    """

    def mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    told = {
        f"one_step_over_teacher_h{h}": mean(one_step, f"frechet_{h}") / mean(teacher, f"frechet_{h}")
        for h in HORIZONS
        if f"frechet_{h}" in teacher[0]
    }
    dynamics = [mean(rows, "ms_dynamics") for rows in (teacher, one_step)]
    decoder = mean(one_step, "ms_decoder")
    told["speedup"] = dynamics[0] / dynamics[1]
    told["speedup_with_decoder"] = (dynamics[0] + decoder) / (dynamics[1] + decoder)
    return told
