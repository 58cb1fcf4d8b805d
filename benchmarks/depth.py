"""Train the depth network that comes with roadcast on the built-in world, and measure it where it was never trained.

    python benchmarks/depth.py [--quick] [--steps N] [--worlds N] [--out FILE.safetensors]

Worlds are drawn on the fly, in every weather and through every camera, whole at 64x128 and at twice that, where windows are cut out:
then neither the horizon's row nor the focal length is always the same. Depth is told for the camera of `perception.depth.FOCAL`.
Held-out worlds have seeds of their own. Floor: the mean log depth of each image row in the training worlds. Errors are over pixels
within 80 m. `--quick` is a minute of it. The last line is one JSON object; `--out` keeps the weights, in float16.
"""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.camera import MOUNTS
from roadcast.data.toyroad.weather import WEATHERS
from roadcast.evaluation.metrics.depth import depth_errors
from roadcast.perception.depth import FARTHEST, NEAREST, DepthNet, resized
from roadcast.safetensors import save_tensors

HEIGHT, WIDTH = 64, 128
EVERY = 15  # steps between two pictures of a world
PICTURES = 12  # of a world
BATCH = 16
HELD_OUT = 10_000  # the first seed of worlds that are not trained on


def pictures(seeds: range, scale: int) -> tuple[Tensor, Tensor]:
    """Frames uint8 [N, H, W, 3] and true depth [N, H, W], float16 within NEAREST and FARTHEST, of the seeds' worlds in turn.

    Weathers take turns from world to world, cameras from picture to picture.
    """
    frames, depths, cameras = [], [], tuple(MOUNTS)
    for seed in seeds:
        world = ToyWorld(seed, scale * HEIGHT, scale * WIDTH, cameras=cameras, weather=WEATHERS[seed % len(WEATHERS)])
        driver = Driver(seed)
        for n in range(PICTURES):
            for _ in range(EVERY):
                world.step(*driver.act(world))
            camera = cameras[n % len(cameras)]
            frames.append(world.render(camera))
            depths.append(world.depth(camera).clip(NEAREST, FARTHEST).astype(np.float16))
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(depths))


def window(frame_HWC: Tensor, depth_HW: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A window cut out at random, of 60 to 100 % of either side, brought to HEIGHT x WIDTH.

    Its focal length is a larger share of its width than that of the whole, so its depth for the camera of FOCAL is smaller.
    """
    height, width = depth_HW.shape
    h, w = (round(side * rng.uniform(0.6, 1.0)) for side in (height, width))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    rows, columns = slice(top, top + h), slice(left, left + w)
    frame = resized(frame_HWC[rows, columns].movedim(-1, 0)[None].float(), (HEIGHT, WIDTH))[0].movedim(0, -1)
    depth = F.interpolate(depth_HW[None, None, rows, columns].float(), (HEIGHT, WIDTH), mode="nearest-exact")[0, 0]
    return frame, depth * (w / width)


def varied(frame_HWC: Tensor, rng: np.random.Generator) -> Tensor:
    """Another exposure, contrast, white balance, sharpness and noise: float32 in [-1, 1]."""
    x = frame_HWC.float() / 255
    x = x ** rng.uniform(0.7, 1.4) * torch.tensor(rng.uniform(0.85, 1.15, 3), dtype=torch.float32)
    if rng.random() < 0.3:
        small = resized(x.movedim(-1, 0)[None], (HEIGHT // 2, WIDTH // 2))
        x = resized(small, (HEIGHT, WIDTH))[0].movedim(0, -1)
    x = x + rng.uniform(0, 0.03) * torch.randn(x.shape)
    return x.clamp(0, 1) * 2 - 1


def batch(pools: list[tuple[Tensor, Tensor]], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """BATCH frames and depths, half of them windows, half of all mirrored."""
    frames, depths = [], []
    for n in range(BATCH):
        pool_frames, pool_depths = pools[n % 2]
        number = rng.integers(len(pool_frames))
        frame, depth = pool_frames[number], pool_depths[number].float()
        if n % 2:
            frame, depth = window(frame, depth, rng)
        frame = varied(frame, rng)
        if rng.random() < 0.5:
            frame, depth = frame.flip(1), depth.flip(1)
        frames.append(frame)
        depths.append(depth)
    return torch.stack(frames), torch.stack(depths).clamp(NEAREST, FARTHEST)


def loss_of(depth: Tensor, true: Tensor) -> Tensor:
    """`mean e^2 - (mean e)^2 / 2`, e = log d - log d* (Eigen et al. 2014, eq. 4), a picture, and its slopes at four sizes.

    The slopes, `mean |d_x e| + |d_y e|` (Li & Snavely 2018, eq. 3), hold the edges.
    """
    error = depth.log() - true.log()
    loss = (error.square().mean(dim=(1, 2)) - 0.5 * error.mean(dim=(1, 2)).square()).mean()
    for size in range(4):
        e = error[:, :: 2**size, :: 2**size]
        loss = loss + 0.1 * (e.diff(dim=1).abs().mean() + e.diff(dim=2).abs().mean())
    return loss


def train(pools: list[tuple[Tensor, Tensor]], steps: int, seed: int = 0) -> DepthNet:
    """The network after `steps` of AdamW, the rate rising for 5 % of them and then falling by half a cosine."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = DepthNet().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    started = time.perf_counter()
    for step in range(steps):
        rate = min(1.0, (step + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = 3e-3 * rate
        frames, true = batch(pools, rng)
        loss = loss_of(network(frames), true)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.4f} {time.perf_counter() - started:.0f} s", flush=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--worlds", type=int, help="of each size")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = arguments.steps or (150 if arguments.quick else 4000)
    worlds = arguments.worlds or (24 if arguments.quick else 240)
    pools = [pictures(range(n * worlds, (n + 1) * worlds), scale=n + 1) for n in range(2)]
    started = time.perf_counter()
    network = train(pools, steps)
    minutes = (time.perf_counter() - started) / 60
    if arguments.out:
        save_tensors(
            arguments.out, {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
        )
    rows_H = pools[0][1].float().log().mean(dim=(0, 2)).exp().numpy()
    results = {}
    for weather in WEATHERS:
        seeds = [s for s in range(HELD_OUT, HELD_OUT + (6 if arguments.quick else 60)) if WEATHERS[s % 6] == weather]
        frames, depths = (torch.cat(part) for part in zip(*[pictures(range(s, s + 1), 1) for s in seeds], strict=True))
        with torch.no_grad():
            made = network(frames / 127.5 - 1).numpy()
        true = depths.float().numpy()
        floor = np.broadcast_to(rows_H[:, None], true.shape)
        results[weather] = {n: asdict(depth_errors(d, true)) for n, d in (("network", made), ("rows", floor))}
        print(weather, json.dumps(results[weather]), flush=True)
    mean = {
        who: {key: float(np.mean([row[who][key] for row in results.values()])) for key in ("abs_rel", "delta", "silog")}
        for who in ("network", "rows")
    }
    print(json.dumps({"steps": steps, "worlds": 2 * worlds, "minutes": minutes, "mean": mean, "weathers": results}))


if __name__ == "__main__":
    main()
