"""What the measures of depth say of real video and of video that was spoilt, and what the network says where it was never trained.

    python benchmarks/depth_scenes.py [--quick] [--weights depth_pro.pt] [--kitti FOLDER] [--picture FILE.jpg]

Clips of 16 frames of held-out built-in worlds, in every weather, are spoilt more and more: in their order, by shaking, noise, or a way
that the car did not go. Depth is told by the network that comes with roadcast or by `--weights`; the scale of a clip is that of its real
video. Means with 95 % bootstrap intervals over clips, and the share of clips that score worse than their own real video. `--kitti` adds
the errors against a drive's LiDAR, `--picture` draws frame, truth and prediction. `--quick` takes a minute. The last line is one
JSON object.
"""

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from roadcast.data.draw.in_picture import depth_colours
from roadcast.data.geometry import inverse, matrix_of, moved, pose_of, project
from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.weather import WEATHERS
from roadcast.evaluation.metrics.depth import depth_consistency, depth_errors, depth_flicker, depth_scale
from roadcast.evaluation.metrics.statistics import mean_estimate
from roadcast.perception.depth import DepthModel, load_depth

FRAMES, HELD_OUT = 16, 20_000


def clip(seed: int, height: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames, true depth, poses, intrinsics and to_ego of FRAMES frames, 20 a second, in the seed's world."""
    world, driver = ToyWorld(seed, height, 2 * height, weather=WEATHERS[seed % len(WEATHERS)]), Driver(seed)
    rows = []
    for n in range(60 + FRAMES):
        world.step(*driver.act(world))
        if n >= 60:
            rows.append((world.render(), world.depth(), world.pose))
    camera = world.calibration["front"]
    return *map(np.stack, zip(*rows, strict=True)), np.array(camera["intrinsics"]), np.array(camera["to_ego"])


def spoilt_frames(frames: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The frames, by what was done to them."""
    numbers = np.arange(FRAMES)
    shaken = {
        f"shaken by up to {p} px": np.stack([np.roll(f, rng.integers(-p, p + 1, 2), (0, 1)) for f in frames])
        for p in (1, 2, 4)
    }
    noisy = {
        f"noise of {n} grey levels": (frames + rng.normal(0, n, frames.shape)).clip(0, 255).astype(np.uint8)
        for n in (5, 15, 45)
    }
    return {
        "real": frames,
        "first frame repeated": frames[numbers * 0],
        "neighbours swapped": frames[numbers ^ 1],
        "shuffled in fours": frames[np.concatenate([a + rng.permutation(4) for a in range(0, FRAMES, 4)])],
        "shuffled": frames[rng.permutation(FRAMES)],
        **shaken,
        **noisy,
    }


def wrong_ways(pose: np.ndarray) -> dict[str, np.ndarray]:
    """Poses of a car that went another way."""
    ways = {}
    for yaw in (0.01, 0.03, 0.1):
        angle = yaw * np.arange(FRAMES) / 2
        turn = np.stack([*np.zeros((3, FRAMES)), np.cos(angle), *np.zeros((2, FRAMES)), np.sin(angle)], axis=1)
        ways[f"way turns by {yaw} rad a frame more"] = pose_of(matrix_of(pose) @ matrix_of(turn))
    for factor in (0.0, 2.0, 4.0):
        way = pose.copy()
        way[:, :3] = pose[:1, :3] + factor * (pose[:, :3] - pose[:1, :3])
        ways[f"way {factor:g} times as fast"] = way
    return ways


def scores(model: DepthModel, seed: int) -> dict[str, dict[str, float]]:
    """Consistency and flicker of one clip, by what was done to it."""
    frames, true, pose, *camera = clip(seed)
    rows = {"real, true depth": consistency(true, pose, *camera)}
    videos = spoilt_frames(frames, np.random.default_rng(seed))
    told = {name: model(torch.from_numpy(video)).numpy() for name, video in videos.items()}
    scale = depth_scale(told["real"], pose, *camera)
    for name, depth in told.items():
        rows[name] = consistency(depth, pose, *camera, scale) | {"flicker": depth_flicker(depth, videos[name]).mean()}
    for name, way in wrong_ways(pose).items():
        rows[name] = consistency(told["real"], way, *camera, scale)
    return rows


def consistency(depth: np.ndarray, pose: np.ndarray, *camera) -> dict[str, float]:
    """Mean consistency over steps of one frame, and of four."""
    return {f"over {n}": np.nanmean(depth_consistency(depth[::n], pose[::n], *camera)) for n in (1, 4)}


def kitti(model: DepthModel, folder: Path) -> dict[str, object]:
    """Errors of a drive against its LiDAR after each picture's median, and of a level road in its place; consistency along its way.

    Of the middle of each picture, twice as wide as it is high, which is the shape that the network was trained on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        ingest(
            folder,
            Path(scratch) / "reel",
            height=192,
            width=640,
            fps=10.0,
            min_seconds=0.3,
            cameras=("front",),
            workers=0,
        )
        reel = Reel(Path(scratch) / "reel")
        video, (camera, *_) = reel.videos[0], reel.cameras
        entry, lidar = video.calibration, reel.sensors["lidar"]
        intrinsics, to_ego = (np.array(entry[camera][name]) for name in ("intrinsics", "to_ego"))
        numbers = range(video.first, video.first + video.frames)
        frames = np.stack([reel.read(n) for n in numbers])
        pose = np.array(reel.signals["ego_pose"][video.first : video.first + video.frames], np.float64)
        to_camera = inverse(to_ego) @ np.array(entry["lidar"]["to_ego"])
        points = [
            moved(lidar.read(lidar.nearest(0, int(reel.t_ns[n])))[:, :3].astype(float), to_camera) for n in numbers
        ]
    true = np.stack([seen(p, intrinsics, *frames.shape[1:3]) for p in points])
    depth = model(torch.from_numpy(frames)).numpy()
    below = np.arange(192)[:, None] - intrinsics[1, 2]
    road = np.broadcast_to(
        np.where(below > 0, intrinsics[1, 1] / np.maximum(below, 1e-3), np.inf).clip(max=50), true.shape
    )
    scale = depth_scale(depth, pose, intrinsics, to_ego)
    along, back = (np.nanmean(depth_consistency(depth, way, intrinsics, to_ego, scale)) for way in (pose, pose[::-1]))
    errors = {name: vars(depth_errors(d, true, scaled=True)) for name, d in (("network", depth), ("level road", road))}
    return {"frames": len(frames), **errors, "scale": scale, "consistency": along, "consistency of the way back": back}


def seen(points: np.ndarray, intrinsics: np.ndarray, height: int, width: int) -> np.ndarray:
    """Depth [H, W] of the nearest point [N, 3] in each pixel, inf where there is none."""
    points = points[points[:, 2] > 1]
    u, v = np.rint(project(points, intrinsics)).astype(int).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    depth = np.full((height, width), np.inf)
    np.minimum.at(depth, (v[inside], u[inside]), points[inside, 2])
    return depth


def picture(model: DepthModel, path: Path) -> None:
    """A row for each weather: frame, true depth, what the network says."""
    rows = []
    for seed in range(HELD_OUT, HELD_OUT + len(WEATHERS)):
        frames, true, *_ = clip(seed, height=128)
        depth = model(torch.from_numpy(frames[0])).numpy()
        coloured = [depth_colours(d.ravel()).reshape(*d.shape, 3) for d in (true[0], depth)]
        rows.append(np.concatenate([frames[0], *coloured], axis=1))
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--kitti", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_depth(arguments.weights)
    clips = [scores(model, seed) for seed in range(HELD_OUT, HELD_OUT + (6 if arguments.quick else 60))]
    results = {}
    for name in clips[0]:
        results[name] = {}
        for measure in clips[0][name]:
            values, real = (np.array([rows[n][measure] for rows in clips]) for n in (name, "real"))
            estimate = mean_estimate(values)
            results[name][measure] = {
                "mean": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "worse": (values > real).mean(),
            }
        print(
            name,
            *(
                f"{m} {e['mean']:.4f} ({e['low']:.4f} to {e['high']:.4f}), worse {e['worse']:.2f}"
                for m, e in results[name].items()
            ),
            sep="; ",
        )
    told = {"depth": model.identity, "clips": len(clips), "scores": results}
    if arguments.kitti:
        told["kitti"] = kitti(model, arguments.kitti)
    if arguments.picture:
        picture(model, arguments.picture)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
