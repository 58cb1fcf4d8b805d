"""Whether a world lives on: thousands of frames on its own output, by recorded commands and by a sine of steering.

    python benchmarks/endurance.py RUN/world REEL [--frames 2000] [--split train] [--period 8] [--features WORLD] [--out strips.png]
    python benchmarks/endurance.py --quick

The longest recording of the split gives the first frames, the commands (again from its start where it is too short) and the real frames
that pieces of WINDOW made frames are held against by the collapse detector (evaluation/metrics/drift.py). With --features, a world whose
encoder recipes/judge.toml has trained, it is also told how far pieces of PIECE frames are from the nearest real piece of the split, in
its features, over how far real pieces are from the nearest of another recording (medians): a smear has brightness, contrast and change,
and is far from all that is real. The strips have a frame every 5 s, real video above. The last line is one JSON object: the share of
pieces that collapsed, by drive and kind, and those distances, of the first 200 frames and of the last.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roadcast.config import override
from roadcast.data.actions import ACTIONS
from roadcast.data.ingest import ingest
from roadcast.data.loading.loader import read_clips
from roadcast.data.reel.store import Reel
from roadcast.evaluation.extractors import Extractor, jepa_extractor
from roadcast.evaluation.ladder import PIECE
from roadcast.evaluation.metrics.drift import COLLAPSES, collapse
from roadcast.evaluation.metrics.flow import motion
from roadcast.evaluation.metrics.frechet import distances
from roadcast.evaluation.video_io import encode
from roadcast.flow.world import World
from roadcast.presets import preset_config

CONTEXT, WINDOW, FEW, PERIOD_S, AMPLITUDE = 16, 64, 200, 8.0, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path, nargs="?")
    parser.add_argument("reel", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--split", default="train")
    parser.add_argument("--period", type=float, default=PERIOD_S, help="of the sine, in seconds")
    parser.add_argument("--features", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(quick(Path(folder))))
        return
    if args.world is None or args.reel is None:
        parser.error("give a world and a reel, or --quick")
    eye = args.features and jepa_extractor(args.features)
    print(
        json.dumps(endure(World.load(args.world), Reel(args.reel), args.split, args.frames, args.period, eye, args.out))
    )


def endure(
    world: World, reel: Reel, split: str, frames: int, period: float, eye: Extractor | None, out: Path | None
) -> dict[str, float]:
    """Drive both ways and judge; strips go to `out`."""
    videos = [n for n, video in enumerate(reel.videos) if video.split == split]
    if not videos:
        raise SystemExit(f"{reel.path}: has no recording in split {split}; give --split")
    longest = max(videos, key=lambda n: reel.videos[n].frames)
    video = reel.videos[longest]
    length = min(video.frames, CONTEXT + frames)
    clip = read_clips(reel, [(longest, video.first)], length, world.actions)
    assert clip.frames_BFHWC is not None
    again = torch.arange(CONTEXT + frames) % length
    recorded, known = clip.actions_BFA[:, again], clip.known_BFA[:, again]
    real = clip.frames_BFHWC[0].numpy()
    told: dict[str, float] = {"frames": frames, "recorded_frames": length}
    if eye is not None:
        if len(videos) == 1:
            raise SystemExit(
                f"{reel.path}: has one recording in split {split}; real pieces want another to be held against"
            )
        real_pieces = [eye.features(pieces(whole(reel, n))) for n in videos]
        members, apart = np.concatenate(real_pieces), usual_distance(real_pieces)
    strips = [real[again[CONTEXT :: round(5 * world.fps)].numpy()]]
    for name, actions in {"recorded": recorded, "sine": sine(recorded, world, period)}.items():
        started = time.perf_counter()
        made = world.imagine(torch.as_tensor(real[None, :CONTEXT]), actions, known | (actions != 0), [0])[0].numpy()
        told[f"{name}_fps"] = frames / (time.perf_counter() - started)
        told |= judged(name, made, real, again[CONTEXT:].numpy())
        if eye is not None:
            far = distances(eye.features(pieces(torch.as_tensor(made))), members).min(axis=1) / apart
            told[f"{name}_far_first"], told[f"{name}_far_last"] = (
                float(np.median(part)) for part in (far[: FEW // PIECE], far[-FEW // PIECE :])
            )
        strips.append(made[:: round(5 * world.fps)])
    if out is not None:
        out.write_bytes(encode(np.concatenate([np.concatenate(list(strip[:20]), axis=1) for strip in strips]), ".png"))
    return told


def whole(reel: Reel, recording: int) -> Tensor:
    """All frames of a recording, uint8 [F, H, W, 3]."""
    video = reel.videos[recording]
    frames = read_clips(reel, [(recording, video.first)], video.frames, ()).frames_BFHWC
    assert frames is not None
    return frames[0]


def pieces(frames_FHWC: Tensor) -> Tensor:
    """The frames cut into pieces one after another, [N, PIECE, H, W, 3]; the last few that fill none are left out."""
    return frames_FHWC[: len(frames_FHWC) // PIECE * PIECE].unflatten(0, (-1, PIECE))


def usual_distance(real: list[np.ndarray]) -> float:
    """The median distance of a recording's rows to the nearest of the other recordings'."""
    apart = [distances(own, np.concatenate(real[:n] + real[n + 1 :])).min(axis=1) for n, own in enumerate(real)]
    return float(np.median(np.concatenate(apart)))


def sine(recorded_1FA: Tensor, world: World, period: float) -> Tensor:
    """Steering `AMPLITUDE sin(2 pi t / period)` of its typical size, the other controls at their recorded median."""
    actions = recorded_1FA.median(dim=1, keepdim=True).values.expand_as(recorded_1FA).clone()
    t = torch.arange(actions.shape[1]) / world.fps
    steer = world.actions.index("steer")
    actions[:, :, steer] = AMPLITUDE * ACTIONS["steer"].scale * torch.sin(2 * math.pi * t / period)
    return actions


def judged(name: str, made_FHWC: np.ndarray, real_FHWC: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Share of pieces that collapsed, by kind; and how much moves in the first piece and in the last, over the real video's mean."""
    found: dict[str, list[bool]] = {kind: [] for kind in COLLAPSES}
    moved, really = [], []
    for first in range(0, len(made_FHWC) - WINDOW, WINDOW):
        piece, real = made_FHWC[first : first + WINDOW + 1], real_FHWC[places[first : first + WINDOW + 1]]
        for kind, value in collapse(piece, real).items():
            found[kind].append(value)
        moved.append(motion(piece).magnitude.mean())
        really.append(motion(real).magnitude.mean())
    shares = {f"{name}_{kind}": float(np.mean(values)) for kind, values in found.items()}
    real_mean = float(np.mean(really))
    return shares | {
        f"{name}_motion_first": float(moved[0]) / real_mean,
        f"{name}_motion_last": float(moved[-1]) / real_mean,
    }


def quick(folder: Path) -> dict[str, float]:
    """A random world of a few thousand weights, driven for a few seconds."""
    config = override(
        preset_config("tiny"), ["tokenizer.widths=[8, 16, 16]", "tokenizer.decoder_widths=[]", "dynamics.depth=4"]
    )
    ingest("toyroad:recordings=2,frames=100,height=64,width=128", folder / "reel", height=64, width=128, split="train")
    torch.manual_seed(0)
    world, eye = World(config).eval(), folder / "eye"
    World(override(config, ["features.depth=1", "features.width=32", "features.heads=2"])).save(eye)
    return endure(world, Reel(folder / "reel"), "train", 200, PERIOD_S, jepa_extractor(eye), folder / "strips.png")


if __name__ == "__main__":
    main()
