"""One evaluation: a model on the clips of a protocol, beside its floors."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roadcast.data.reel.store import Reel
from roadcast.evaluation.actions import action_test
from roadcast.evaluation.extractors import Extractor
from roadcast.evaluation.judge import load_judge
from roadcast.evaluation.measures import USUAL, Measure
from roadcast.evaluation.metrics.catalogue import LIKENESS, METRICS, RATIOS
from roadcast.evaluation.metrics.distribution import distributions
from roadcast.evaluation.metrics.drift import slope
from roadcast.evaluation.metrics.floors import SYSTEMS
from roadcast.evaluation.metrics.statistics import Estimate, mean_estimate, ratio_estimate
from roadcast.evaluation.obedience import lag_of, recorded_steering, tested_pedals, tested_steering
from roadcast.evaluation.protocol import World, make_protocol
from roadcast.evaluation.result import Result
from roadcast.evaluation.sweep import Progress
from roadcast.evaluation.systems import show
from roadcast.evaluation.tally import Tally
from roadcast.files import sha256


def evaluate(
    world: World,
    reel: Reel,
    *,
    split: str = "val",
    clips: int = 64,
    context: int = 16,
    horizon: int = 32,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 8,
    steering_contexts: int = 32,
    action_contexts: int = 0,
    judge: Path | None = None,
    measures: Sequence[Measure] = (),
    extractors: Sequence[Extractor] = (),
    progress: Progress | None = None,
) -> Result:
    """Score a world on real clips: likeness, temporal consistency, drift and steering, always beside its floors.

    The model is given `context` real frames and the recorded commands and imagines `horizon` frames, which are
    held against the true ones. Beside it: the last frame repeated, the true frames through the tokenizer alone, and
    real video (`metrics.floors`). Means carry 95 % bootstrap intervals over clips.

    Args:
        split, clips, context, horizon, steps, seed: see `protocol.Protocol`.
        batch: clips imagined at once; changes speed and memory, not what is measured.
        steering_contexts: clips of the tests of steering and pedals, 0 to leave them out.
        action_contexts: clips of the test of true against other commands, 0 to leave it out.
        judge: folder of a world that reads commands back from video in that test (`judge`); without one nothing is read back.
        measures: of single frames, beyond the usual ones (`measures`).
        extractors: of the features that sets of videos are compared in (`extractors`); without any, no FVD and the like.
        progress: called with (phase, done, total).
    Raises: UserError as `protocol.make_protocol`.
    """
    measures = [*USUAL, *measures]
    networks = {name: m.identity for m in measures if m.identity for name in m.names}
    networks |= {extractor.name: extractor.identity for extractor in extractors}
    if judge is not None:
        networks["judge"] = sha256(judge / "weights.safetensors")
    protocol = make_protocol(
        world, reel, split=split, clips=clips, context=context, horizon=horizon, steps=steps, seed=seed,
        metrics=[name for measure in measures for name in measure.names],
        networks=networks,
    )  # fmt: skip
    reader = None if judge is None else load_judge(judge, protocol)
    tally, seconds = Tally(protocol, measures, extractors), {"imagine": 0.0, "measure": 0.0}
    for at in range(0, len(protocol.clips), batch):
        indices = range(at, min(at + batch, len(protocol.clips)))
        scene = show(world, reel, protocol, indices)
        seconds["imagine"] += scene.seconds
        started = time.perf_counter()
        tally.add(indices, scene)
        seconds["measure"] += time.perf_counter() - started
        if progress:
            progress("clips", at + len(indices), len(protocol.clips))
    scores = {name: tally.scores[name] for name in METRICS if name in tally.scores}
    real = recorded_steering(protocol, tally)
    tests = {"contexts": steering_contexts, "batch": batch, "progress": progress}
    steering, steering_note = tested_steering(world, reel, protocol, lag=lag_of(real), **tests)
    pedals, pedals_note = tested_pedals(world, reel, protocol, **tests)
    actions = None
    if action_contexts:
        actions = action_test(
            world,
            reel,
            protocol,
            judge=reader,
            lag=lag_of(real),
            contexts=action_contexts,
            batch=batch,
            progress=progress,
        )
    imagined = len(protocol.clips) * horizon
    return Result(
        protocol=protocol,
        scores=scores,
        metrics={name: {s: curve(name, scores[name], s) for s in SYSTEMS} for name in scores},
        gain={name: mean_estimate(scores[name]["model"] - scores[name]["copy"]) for name in scores if name in LIKENESS},
        drift={
            name: {s: mean_estimate(slope(relative(name, scores[name], s), protocol.fps)) for s in SYSTEMS}
            for name in scores
        },
        collapse={
            s: {kind: float(np.mean(found)) for kind, found in kinds.items()} for s, kinds in tally.collapsed.items()
        },
        distributions={name: distributions(by_system, seed) for name, by_system in tally.features.items()},
        steering=steering,
        steering_note=steering_note,
        real_steering=real,
        pedals=pedals,
        pedals_note=pedals_note,
        actions=actions,
        seconds={**seconds, "imagined_frames_per_second": imagined / max(seconds["imagine"], 1e-9)},
        shown=tally.gallery.spread,
        worst=tally.gallery.worst,
    )


def curve(name: str, by_system: dict[str, np.ndarray], system: str) -> Estimate:
    """The metric against the horizon: a mean, or for ratios the mean over the real video's mean."""
    if name in RATIOS:
        return ratio_estimate(by_system[system], by_system["real"])
    return mean_estimate(by_system[system])


def relative(name: str, by_system: dict[str, np.ndarray], system: str) -> np.ndarray:
    """What the drift slope is taken of, [N, H]: for ratios the values over the real video's mean at that horizon."""
    if name in RATIOS:
        return by_system[system] / np.maximum(by_system["real"].mean(axis=0), 1e-9)
    return by_system[system]
