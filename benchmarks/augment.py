"""What augmentation costs, by name and as a chain, and its share of a training step of the `tiny` preset.

    python benchmarks/augment.py [--quick] [--threads N] [--device cuda]
    python benchmarks/augment.py --sheet FILE [--source ADDRESS] [--begin N] [--every N] [--height H] [--width W]

Batches of 4 clips of 16 frames, every clip changed by the one that is timed; the chain is `CHAIN`, where rare ones change few clips.
Times are the best of several rounds: the machine may have other work. The last line is one JSON object. With `--sheet` a picture is made
instead: a row an augmentation, a column a frame, of any source that `roadcast ingest` reads.
"""

import argparse
import itertools
import json
import time

import cv2
import numpy as np
import torch

from roadcast.data.augment import AUGMENTATIONS, Augment
from roadcast.data.clip import Clip
from roadcast.data.intake.fit import fit
from roadcast.data.sources.open import open_source
from roadcast.flow.world import World
from roadcast.objectives import build_objective
from roadcast.presets import tiny

CHAIN = {
    "flip": 0.5, "crop": 0.15, "fog": 0.05, "rain": 0.05, "drops": 0.05, "glare": 0.05, "blur": 0.1, "colour": 0.5,
    "noise": 0.2, "jpeg": 0.2, "drop": 0.02,
}  # fmt: skip
ACTIONS = ("steer", "throttle")
BATCH, FRAMES = 4, 16
SIZES = ((64, 128), (144, 256))


def clips_of(frames_BFHWC: torch.Tensor, step: int = 0) -> Clip:
    """A batch of these pixels at 20 Hz, with the keys of batch `step`."""
    batch, frames = frames_BFHWC.shape[:2]
    return Clip(
        frames_BFHWC=frames_BFHWC,
        z_BTHWC=None,
        actions_BFA=torch.zeros(batch, frames, len(ACTIONS)),
        known_BFA=torch.ones(batch, frames, len(ACTIONS), dtype=torch.bool),
        t_ns_BF=(torch.arange(frames) * 50_000_000).expand(batch, -1),
        video_B=torch.zeros(batch, dtype=torch.int64),
        first_B=torch.zeros(batch, dtype=torch.int64),
        key_B=torch.arange(step * batch, (step + 1) * batch),
    )


def pictures(source: str, begin: int, every: int, count: int, height: int, width: int) -> np.ndarray:
    """Pictures [count, H, W, 3] of the first recording that a source has, of its first camera."""
    recording = next(iter(open_source(source, rate=10.0 if source.endswith((".hevc", ".h264")) else None).recordings()))
    taken = itertools.islice((images for _, images in recording.frames()), begin, begin + every * count, every)
    first = [images[0] if isinstance(images, tuple) else images for images in taken]
    return np.stack([fit(image, height, width, "center") for image in first if image is not None])


def seconds(work, rounds: int, device: str) -> float:
    """The best time of a call."""
    best = float("inf")
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def chain_seconds(clip: Clip, rounds: int, device: str) -> float:
    """The mean over many keys of the chain's best time for a batch: which clips are changed differs from batch to batch."""
    augment = Augment(CHAIN, 0, actions=ACTIONS)
    times = []
    for step in range(4 * rounds):
        clip.key_B = torch.arange(step * len(clip), (step + 1) * len(clip))
        times.append(seconds(lambda: augment(clip), 2, device))
    return sum(times) / len(times)


def training_step(rounds: int, device: str) -> tuple[float, float]:
    """Seconds of a step of the tiny preset's tokenizer, and of the chain on its batch."""
    config = tiny()
    stage = config.train["tokenizer"]
    shape = (stage.batch, stage.clip_frames, config.data.height, config.data.width, 3)
    clip = clips_of(torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))).to(device)
    objective = build_objective(stage.objective, World(config).to(device), stage.options)
    optimizer = torch.optim.AdamW(objective.trained.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
        loss.backward()
        optimizer.step()

    return seconds(step, rounds, device), chain_seconds(clip, rounds, device)


def measure(rounds: int, device: str) -> dict:
    """All figures."""
    result: dict = {"batch": BATCH, "frames": FRAMES, "threads": torch.get_num_threads(), "device": device}
    for height, width in SIZES:
        shape = (BATCH, FRAMES, height, width, 3)
        clip = clips_of(torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))).to(device)
        ms = {}
        for name, cls in AUGMENTATIONS.items():
            amount = cls.limit if cls.always else 1.0
            augment = Augment({name: amount}, 0, actions=ACTIONS)
            ms[name] = 1e3 / BATCH * seconds(lambda augment=augment, clip=clip: augment(clip), rounds, device)
            print(f"{height}x{width} {name:8} {ms[name]:7.2f} ms/clip {1e3 / ms[name]:8.0f} clips/s", flush=True)
        ms["chain"] = 1e3 / BATCH * chain_seconds(clip, rounds, device)
        print(f"{height}x{width} chain    {ms['chain']:7.2f} ms/clip {1e3 / ms['chain']:8.0f} clips/s", flush=True)
        result[f"ms_per_clip_{height}x{width}"] = ms
        result[f"clips_per_s_{height}x{width}"] = {name: 1e3 / each for name, each in ms.items()}
    step, chain = training_step(rounds, device)
    result |= {"tiny_step_ms": 1e3 * step, "tiny_chain_ms": 1e3 * chain, "share_of_tiny_step": chain / step}
    return result


def sheet(frames_FHWC: np.ndarray) -> np.ndarray:
    """A row an augmentation, each with its name, and three rows of the chain, RGB."""
    clip = clips_of(torch.from_numpy(frames_FHWC)[None])
    rows = [("as it is", {})]
    rows += [(name, {name: 0.3 if cls.always else 1.0}) for name, cls in AUGMENTATIONS.items() if name != "colour"]
    rows += [("colour", {"colour": 1.0})] * 2
    rows += [("chain", CHAIN)] * 3
    drawn = []
    for number, (name, amounts) in enumerate(rows):
        clip.key_B = torch.tensor([number])
        made = Augment(amounts, 1, actions=ACTIONS)(clip).frames_BFHWC
        assert made is not None
        row = np.concatenate(list(made[0].numpy()), axis=1)
        cv2.putText(row, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(row, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        drawn.append(row)
    return np.concatenate(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheet", metavar="FILE", help="make a contact sheet instead")
    parser.add_argument("--source", default="toyroad:recordings=1,frames=40,height=144,width=256")
    parser.add_argument("--begin", type=int, default=10)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--height", type=int, default=144)
    parser.add_argument("--width", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.sheet:
        taken = pictures(options.source, options.begin, options.every, 6, options.height, options.width)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 70] if options.sheet.endswith(".jpg") else []
        cv2.imwrite(options.sheet, cv2.cvtColor(sheet(taken), cv2.COLOR_RGB2BGR), quality)
        return
    result = measure(3 if options.quick else 15, options.device)
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))))


if __name__ == "__main__":
    main()
