"""What each variant of the tokenizer gives and costs: the same few steps of the `tiny` preset, the same seed, the same road.

    python benchmarks/tokenizer.py [--reel REEL] [--steps N] [--batch N] [--variants full,light,...] [--seed N]

Without a reel one of the built-in world is made: clear weather, 64x128, 16 recordings. A variant is trained by the ordinary loop on
clips of two frames and judged on every fifth held-out frame, read alone. `half` is the PSNR of the picture at half the size decoded
from latents at half the size. Times are processor time, which other work on the machine lengthens less than it does the clock's: of
one training step, and of one frame decoded after another with carried state, eager, on one thread, the best and the median, the
variants taking turns. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from roadcast.config import Config, StageConfig, override
from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.nn.image_quality import halved, psnr, ssim
from roadcast.presets import tiny
from roadcast.tokenizer.model import Tokenizer
from roadcast.training.run import train

VARIANTS: dict[str, tuple[list[str], dict[str, float]]] = {
    "full": ([], {}),
    "light": (["tokenizer.decoder_widths=[64, 192]", "tokenizer.decoder_blocks=1"], {}),
    "kl": (["tokenizer.bottleneck=kl"], {"kl": 1e-3}),
    "equivariance": ([], {"equivariance": 0.25}),
    "gradient": ([], {"gradient": 0.5}),
    "adversarial": ([], {"adversarial": 0.1}),
}
ROAD = "toyroad:recordings=16,frames=100,seed=5,weather=clear,height=64,width=128"
LATENT = (4, 8)  # of 64x128 pixels
TIMED_FRAMES = 100


def configure(name: str, reel: Path, arguments: argparse.Namespace) -> Config:
    """`tiny` with one variant's settings and a short training of its tokenizer alone; the adversary speaks in the second half."""
    assignments, options = VARIANTS[name]
    if "adversarial" in options:
        options = options | {"adversarial_from": arguments.steps // 2}
    config = tiny()
    config.seed, config.data.reel = arguments.seed, str(reel)
    config.train = {
        "tokenizer": StageConfig(
            "tokenizer", options, steps=arguments.steps, batch=arguments.batch, clip_frames=2, lr=2e-3, lr_final=1e-4,
            warmup=20, ema=0.98, evaluate_every=arguments.steps, save_every=arguments.steps,
        )
    }  # fmt: skip
    return override(config, assignments)


def held_out(reel: Reel) -> Tensor:
    """uint8 [N, H, W, 3]: every fifth frame of the recordings that are not trained on."""
    numbers = [f for v in reel.videos if v.split != "train" for f in range(v.first, v.first + v.frames, 5)]
    return torch.from_numpy(np.stack([reel.read(number) for number in numbers]))


@torch.no_grad()
def quality(tokenizer: Tokenizer, frames_NHWC: Tensor) -> dict[str, float]:
    """Mean PSNR and SSIM of frames read and decoded alone, and the PSNR of halved latents against halved frames."""
    rows = []
    for frame in frames_NHWC.split(1):
        raw = tokenizer.encode_raw(frame[None])
        true = frame / 127.5 - 1
        made, small = (tokenizer.decode_raw(z)[0].clamp(-1, 1) for z in (raw, halved(raw)))
        rows.append([psnr(made, true, 2.0), ssim(made, true, 2.0), psnr(small, halved(true), 2.0)])
    return dict(zip(("psnr", "ssim", "half"), torch.tensor(rows).mean(dim=0).tolist(), strict=True))


@torch.no_grad()
def frame_times(tokenizers: dict[str, Tokenizer]) -> dict[str, dict[str, float]]:
    """Milliseconds of processor time to decode one frame in a stream: best and median of each tokenizer, taking turns."""
    streams = {name: Stream(t.decoder.empty_past(1, *LATENT)) for name, t in tokenizers.items()}
    times: dict[str, list[float]] = {name: [] for name in tokenizers}
    for _ in range(TIMED_FRAMES):
        z = torch.randn(1, 1, *LATENT, next(iter(tokenizers.values())).config.latent_channels)
        for name, tokenizer in tokenizers.items():
            started = time.thread_time()
            tokenizer.decode(z, streams[name])
            times[name].append(1e3 * (time.thread_time() - started))
    return {name: {"frame_ms": min(row), "frame_median_ms": sorted(row)[len(row) // 2]} for name, row in times.items()}


@torch.no_grad()
def size(decoder: nn.Module, latent_channels: int) -> dict[str, float]:
    """Millions of parameters, and of multiplications and additions in the convolutions of one frame."""
    macs = 0

    def count(module: nn.Conv2d, _: object, y: Tensor) -> None:
        nonlocal macs
        macs += y.numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    decoder(torch.zeros(1, 1, *LATENT, latent_channels))
    for hook in hooks:
        hook.remove()
    return {"parameters_m": sum(p.numel() for p in decoder.parameters()) / 1e6, "macs_m": macs / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reel", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.variants.split(",")
    results, tokenizers = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        reel = arguments.reel or Path(scratch) / "reel"
        if not arguments.reel:
            ingest(ROAD, reel, height=64, width=128, fps=20.0)
        frames = held_out(Reel(reel))
        for name in names:
            started = time.process_time()
            folder = train(configure(name, reel, arguments), Path(scratch) / name, report=lambda *_: None)
            seconds = time.process_time() - started
            tokenizers[name] = tokenizer = World.load(folder).tokenizer
            results[name] = {"step_ms": 1e3 * seconds / arguments.steps} | quality(tokenizer, frames)
            results[name] |= size(tokenizer.decoder, tokenizer.config.latent_channels)
            print(name, json.dumps(results[name]), flush=True)
    for name, row in frame_times(tokenizers).items():
        results[name] |= row
    columns = list(results[names[0]])
    print("| variant |", " | ".join(columns), "|\n|" + "---|" * (len(columns) + 1))
    for name, row in results.items():
        print(f"| {name} |", " | ".join(f"{row[c]:.4f}" if c == "ssim" else f"{row[c]:.2f}" for c in columns), "|")
    print(json.dumps({"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed, "variants": results}))


if __name__ == "__main__":
    main()
