"""What an encoder's features know of driving that pixels and a random encoder do not show: linear probes on held-out recordings.

    python benchmarks/jepa.py [--quick] [--reels REEL ...] [--out DIR] [--objective jepa|contrastive] [--steps N] ...

The encoder is trained on the train recordings of all reels together. For each reel a ridge regression is fitted on its own train
recordings and judged on those that were held out, val and test; a reel without train recordings, such as another day of the same car, is
judged by the regression of the one before. Signals, each the mean over a clip of 8 frames: steer, throttle, speed and yaw_rate where
the reel has them; `flow`, log(1 + mean length of the optical flow in pixels a frame), which stands for speed where there is none; in
the built-in world `nearness`, 255 times 2 m over depth, of the picture's upper half. Features: at each time the encoder's mean over the
picture, or over each field of a raster of 2x4; the same encoder's before training; all pixels of all frames at 16x32. Without reels
one of the built-in world is made. A run in --out is resumed. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from roadcast.config import Config, DataConfig, FeaturesConfig, StageConfig
from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.probes import (
    Features,
    encoder_features,
    features_of,
    gain,
    pixel_features,
    places_of,
    probe,
    signal_of,
)
from roadcast.flow.world import World
from roadcast.perception.flow import dense_flow
from roadcast.training.run import train

FRAMES = 8
SIGNALS = ("steer", "throttle", "speed", "yaw_rate")
ROAD = "toyroad:recordings={recordings},frames=120,seed=7,height=64,width=128,sensors=depth"
MOST_TRAIN, MOST_JUDGED = 1800, 1000
"""Clips of a set at most, evenly strewn: a probe's time grows with the cube of the first."""


@dataclass(frozen=True)
class Set:
    """Clips of one split of a reel: their features by kind, and their signals."""

    features: dict[str, np.ndarray]
    signals: dict[str, np.ndarray]

    @classmethod
    def of(cls, reel: Reel, splits: set[str], kinds: dict[str, Features], every: int, most: int) -> "Set":
        """Clips that begin every so many frames, or rarer where they would be more than `most`."""
        places = places_of(reel, splits, FRAMES, every)
        chosen = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
        places = [places[i] for i in chosen]
        signals = {name: signal_of(reel, places, FRAMES, name) for name in SIGNALS if name in reel.signals}
        signals["flow"] = np.log1p([flow(reel, first) for _, first in places])
        if "depth" in reel.sensors:
            signals["nearness"] = np.array([nearness(reel, *place) for place in places])
        return cls(features_of(reel, places, FRAMES, kinds), signals)


def flow(reel: Reel, first: int) -> float:
    """The mean length of the optical flow over a clip, in pixels a frame."""
    grey = [cv2.cvtColor(reel.read(first + f), cv2.COLOR_RGB2GRAY) for f in range(FRAMES)]
    return float(np.mean([np.linalg.norm(dense_flow(a, b), axis=-1).mean() for a, b in pairwise(grey)]))


def nearness(reel: Reel, video: int, first: int) -> float:
    """The mean of the picture of inverse depth in a clip's middle, of its upper half, where things stand and the road does not lie."""
    depth = reel.sensors["depth"]
    reading = depth.nearest(video, int(reel.t_ns[first + FRAMES // 2]))
    assert reading is not None
    picture = depth.read(reading)
    return float(picture[: len(picture) // 2].mean())


def configure(reels: list[Path], arguments: argparse.Namespace) -> Config:
    """An encoder trained alone, on each reel in proportion to its train frames."""
    frames = {str(path): sum(v.frames for v in Reel(path).videos if v.split == "train") for path in reels}
    heads, steps = arguments.width // 32, arguments.steps
    options = {"predictor_width": arguments.width / 2, "predictor_depth": 2}
    stage = StageConfig(
        arguments.objective, options if arguments.objective == "jepa" else {}, steps=steps, batch=arguments.batch,
        clip_frames=arguments.clip_frames, lr=1e-3, lr_final=1e-4, warmup=min(50, steps // 5), ema=arguments.momentum,
        evaluate_every=min(250, steps), save_every=min(250, steps),
    )  # fmt: skip
    stages, then = {"features": stage}, arguments.contrast
    if then:
        stages["contrast"] = StageConfig(
            "contrastive", steps=then, batch=32, clip_frames=arguments.clip_frames, lr=3e-4, lr_final=3e-5, warmup=then // 10,
            ema=0.98, evaluate_every=then, save_every=max(1, then // 2),
        )  # fmt: skip
    return Config(
        seed=arguments.seed,
        data=DataConfig(mixture={path: float(count) for path, count in frames.items() if count}),
        features=FeaturesConfig(arguments.depth, arguments.width, heads, arguments.patch),
        train=stages,
    ).validate()


def show(title: str, train: Set, judged: Set) -> dict[str, dict[str, dict]]:
    """Print a table of probes fitted on one set and judged on another; the same as {signal: {kind: {figure: estimate}}}."""
    probes = {
        kind: probe(rows, train.signals, judged.features[kind], judged.signals) for kind, rows in train.features.items()
    }
    clips, figures = len(next(iter(judged.signals.values()))), {}
    whole, raster = list(probes)[:2]
    print(f"\n{title}, {clips} clips\n")
    print(
        f"| signal | features | R^2 | correlation | R^2 of {whole} less this | R^2 of {raster} less this |\n|---|---|---|---|---|---|"
    )
    for signal, truth in judged.signals.items():
        figures[signal] = {}
        for kind, found in ((kind, row[signal]) for kind, row in probes.items()):
            row = {"r2": found.r2, "correlation": found.correlation, "less": gain(probes[whole][signal], found, truth)}
            row["less_2x4"] = gain(probes[raster][signal], found, truth)
            print(f"| {signal} | {kind} |", " | ".join(told(value) for value in row.values()), "|", flush=True)
            figures[signal][kind] = {name: value and vars(value) for name, value in row.items()}
    return figures


def told(value: Estimate | None) -> str:
    return "constant" if value is None else f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short training on a few drives of the built-in world")
    parser.add_argument("--reels", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--objective", choices=("jepa", "contrastive"), default="jepa")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--contrast", type=int, default=0, help="steps of the contrastive head after these")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--clip-frames", type=int, default=FRAMES)
    parser.add_argument("--momentum", type=float, default=0.99)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.batch, arguments.depth = 20, 8, 2
    return arguments


def main() -> None:
    arguments = arguments_given()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        reels = arguments.reels
        if not reels:
            reels = [Path(scratch) / "toyroad"]
            ingest(ROAD.format(recordings=10 if arguments.quick else 40), reels[0], height=64, width=128, fps=20.0)
        config, started = configure(reels, arguments), time.process_time()
        folder = train(config, arguments.out or Path(scratch) / "run", report=lambda *_: None)
        trained, seconds = World.load(folder).features, time.process_time() - started
        torch.manual_seed(config.seed)
        untrained = World(config).features
        assert trained is not None and untrained is not None
        name = f"{arguments.objective}, then contrastive" if arguments.contrast else arguments.objective
        kinds = {
            name: encoder_features(trained),
            f"{name} 2x4": encoder_features(trained, 2, 4),
            "random": encoder_features(untrained),
            "random 2x4": encoder_features(untrained, 2, 4),
            "pixels": pixel_features,
        }
        opened = [Reel(path) for path in reels]
        fitted, results = None, {}
        for reel in opened:
            if places_of(reel, {"train"}, FRAMES, 1):
                fitted = Set.of(reel, {"train"}, kinds, FRAMES // 2, MOST_TRAIN)
            assert fitted is not None, "the first reel has recordings to train on"
            if places_of(reel, {"val", "test"}, FRAMES, 1):
                judged = Set.of(reel, {"val", "test"}, kinds, FRAMES, MOST_JUDGED)
                results[reel.path.name] = show(reel.path.name, fitted, judged)
    print(json.dumps({"train_cpu_seconds": round(seconds), **vars(arguments), "probes": results}, default=str))


if __name__ == "__main__":
    main()
