"""Can the metrics be trusted: equal to the packages that define them, worse where video is worse, and fast.

    python benchmarks/metrics.py [--quick] [--reel FOLDER] [--frame-weights FILE.npz] [--features WORLD] [--clips N] [--chart FILE.png]
                                 [--parts parity sanity speed]

Three parts (metrics_parity.py, metrics_sanity.py, metrics_speed.py): relative errors against lpips, torch-fidelity, torchmetrics,
pytorch-msssim, scikit-image, scipy and pytorch-i3d ($PYTORCH_I3D), or against what they said where one is not installed; every metric
of clips under blur, noise, shuffled frames, speed and wrong steering at rising strength, held against the same clips, as an
evaluation does; clips a second against the same packages, and memory by the number of clips. Clips are the reel's, or without one the
toy world's; wrong steering is always the toy world's, which can be driven again. Networks without public weights at hand have weights
by formula and are marked by a star.
`--quick` takes less than a minute. The last line is one JSON object; `monotonic` is false when any metric does not rise where it is
meant to, and `not_monotonic` says which.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import torch
from metrics_chart import chart
from metrics_clips import STRENGTHS, from_reel, from_toyroad, wrong_steering
from metrics_parity import compare
from metrics_sanity import Row, extractors, faults, rows
from metrics_speed import measure, memory

PARTS = ("parity", "sanity", "speed")


def show(table: dict[str, Row]) -> None:
    """A row a metric and distortion: the floor, then the values at rising strength."""
    for metric, row in table.items():
        for how, values in row.values.items():
            print(
                f"{metric:16} {how:15} {row.floor[how]:10.4g} | " + " ".join(f"{v:10.4g}" for v in values), flush=True
            )


def sanity(arguments: argparse.Namespace) -> dict[str, Any]:
    """The table, its picture, and where it does not rise."""
    count = arguments.clips or (2 if arguments.quick else 8)
    if arguments.quick:
        STRENGTHS.update({how: strengths[::2] for how, strengths in STRENGTHS.items()})
    clips = from_reel(arguments.reel, count) if arguments.reel else from_toyroad(count)
    networks = extractors(arguments.frame_weights, arguments.features)
    table = rows([clips, wrong_steering(count)], networks)
    show(table)
    if arguments.chart:
        cv2.imwrite(str(arguments.chart), chart(table))
    missing = faults(table)
    return {"monotonic": not missing, "not_monotonic": missing}


def speed(quick: bool) -> dict[str, Any]:
    """The least ratio, all ratios, and peak memory by the number of clips."""
    ratios = {name: round(race["ratio"], 2) for name, race in measure(quick).items()}
    held = {str(clips): round(mib) for clips, mib in memory(quick).items()}
    return {"speed_ratio": min(ratios.values()), "speed": ratios, "memory_mib": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--reel", type=Path)
    parser.add_argument("--frame-weights", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--clips", type=int, help="of each kind")
    parser.add_argument("--chart", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    if "parity" in arguments.parts:
        found["max_relative_error"] = max(compare()[0].values())
    if "sanity" in arguments.parts:
        found |= sanity(arguments)
    if "speed" in arguments.parts:
        found |= speed(arguments.quick)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
