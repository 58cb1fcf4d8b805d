"""What streaming costs beside random access: clips a second, time to the first batch, memory held, and how well it mixes.

    python benchmarks/streaming.py [--quick] [--reel REEL]

Without a reel one of textured pictures of 256x144 is made. Stream and random access read the same reel of this machine's
disk, in one process, with equal threads, in turns; the best of three rounds counts, on a machine that others use too.
Memory is that of a fresh process: `bound_mb` is what `Stream.bytes_at_most` promises to hold, `anonymous_mb` how much the
process grew from before the first batch, and `unreturned_mb` the same under glibc's usual settings, where freed memory is
kept. `mixing` is the mean distance of neighbouring samples over that of a full shuffle (1 is perfect, reading in order
is 0), by blocks a window, and `read_over_epoch` the bytes read for every clip once over those of the split. The last line
is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.clip import Clip
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel, Video
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording
from roadcast.data.streaming.stream import Stream

BATCH, FRAMES, ACTIONS = 4, 16, ("steer",)

HELD = """
import sys
from itertools import islice
from roadcast.data.streaming.stream import Stream

def held():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) / 1e3

stream = Stream(sys.argv[1], "train", 16, 4, ("steer",), seed=0, lanes=int(sys.argv[2]), window=int(sys.argv[3]))
before, most = held(), 0.0
for _ in islice(stream, int(sys.argv[4])):
    most = max(most, held())
print(most - before, stream.bytes_at_most() / 1e6)
"""


def make_reel(path: Path, recordings: int, frames: int) -> None:
    """A reel of recordings in which a texture glides by."""
    chance = np.random.default_rng(0)
    with ReelWriter(path, fps=20.0, height=144, width=256) as writer:
        for n in range(recordings):
            wide = cv2.GaussianBlur(chance.integers(0, 256, (144, 256 + 2 * frames, 3), np.uint8), (0, 0), 1.1)
            wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
            images = [np.ascontiguousarray(wide[:, 2 * k : 2 * k + 256]) for k in range(frames)]
            pictures = [(k * 50_000_000, image) for k, image in enumerate(images)]
            writer.add(Recording(f"r{n:03d}", "made", lambda p=pictures: iter(p), {}), "train")


def pace(batches: Iterator[Clip], count: int) -> tuple[float, float]:
    """Seconds to the first batch, and clips a second after it."""
    begun = time.perf_counter()
    next(batches)
    first = time.perf_counter()
    clips = sum(len(clip) for clip in islice(batches, count))
    return first - begun, clips / (time.perf_counter() - first)


def best(ways: dict[str, Callable[[], Iterator[Clip]]], count: int, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Of each way, the best time to the first batch and the best rate, over rounds in which all take their turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(pace(way(), count))
    return {
        name: {"first_batch_s": min(t for t, _ in rows), "clips_per_s": max(r for _, r in rows)}
        for name, rows in times.items()
    }


def held(path: Path, lanes: int, window: int, batches: int, allocator: dict[str, str]) -> tuple[float, float]:
    """By how many MB a new process grows that reads batches of a stream, and how many the stream promises at most."""
    command = [sys.executable, "-c", HELD, str(path), str(lanes), str(window), str(batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | allocator)
    grown, bound = map(float, done.stdout.split())
    return grown, bound


def frames_of(videos: list[Video], split: str) -> np.ndarray:
    """The frames of the reel that belong to a split."""
    return np.concatenate([np.arange(v.first, v.first + v.frames) for v in videos if v.split == split])


def mixing(stream: Stream, batches: int) -> float:
    """Mean distance of neighbouring samples, as a part of a third of the split's length, which is that of independent ones."""
    trained = frames_of(stream.reel.videos, "train")
    first_N = np.concatenate([stream.order.draw(n).first_B for n in range(batches)])
    return float(np.abs(np.diff(np.searchsorted(trained, first_N))).mean() / (len(trained) / 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few frames, under a minute")
    parser.add_argument("--reel", help="a reel with recordings to train on")
    given = parser.parse_args()
    recordings, count = (8, 60) if given.quick else (60, 400)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(given.reel or Path(folder) / "reel")
        if given.reel is None:
            make_reel(path, recordings, 400)
        reel = Reel(path)
        stream = Stream(path, "train", FRAMES, BATCH, ACTIONS, seed=0)
        blocks = stream.order.blocks
        spans = [stream.reel.extent(*blocks.frames(b))[1] for b in range(len(blocks))]
        read = sum(end - start for runs in spans for start, end in runs)
        trained = frames_of(reel.videos, "train")
        size = int(reel.index["length"].reshape(reel.frames, -1)[trained].sum())
        clips = Clips([reel], "train", FRAMES, BATCH, ACTIONS, seed=0)
        ways: dict[str, Callable[[], Iterator[Clip]]] = {}
        for threads in (1, 2):
            ways[f"random_{threads}"] = lambda t=threads: clips.batches(0, 10**9, t, "threads")
            ways[f"stream_{threads}"] = lambda t=threads: iter(
                Stream(path, "train", FRAMES, BATCH, ACTIONS, seed=0, threads=t)
            )
        result = best(ways, count)
        memory = {}
        for lanes, window in ((4, 8), (1, 2)):
            returning, bound = held(path, lanes, window, 3 * count, {"MALLOC_MMAP_THRESHOLD_": "131072"})
            usual, _ = held(path, lanes, window, 3 * count, {})
            row = {"anonymous_mb": returning, "unreturned_mb": usual, "bound_mb": bound}
            memory[f"lanes_{lanes}_window_{window}"] = row
        result |= {
            "ratio_1": result["stream_1"]["clips_per_s"] / result["random_1"]["clips_per_s"],
            "ratio_2": result["stream_2"]["clips_per_s"] / result["random_2"]["clips_per_s"],
            "memory": memory,
            "reel_mb": size / 1e6,
            "read_over_epoch": read / size,
            "mixing": {str(w): mixing(_of_window(path, w), 250) for w in (1, 2, 8, 16)},
        }
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))))


def _of_window(path: Path, window: int) -> Stream:
    return Stream(path, "train", FRAMES, BATCH, ACTIONS, seed=0, window=window)


if __name__ == "__main__":
    main()
