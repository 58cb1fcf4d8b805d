"""How long a reel takes to open, and one frame to find, against how many frames it holds.

    python benchmarks/opening.py [--quick] [--table FILE]

Tables and signals are real files of the stated size, with a recording, and a shard, every 1,000 frames; the shards are hard
links to one of 200 pictures, so that 10^7 frames need no terabyte. Each figure is the median over fresh processes (open) or
over random frames (access): the first time, which may include mapping a shard, and again.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from roadcast.data.reel.layout import shard_name
from roadcast.data.reel.store import Reel
from roadcast.data.reel.tables import load_tables, write_header, write_tables
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.toyroad import ToyroadSource

FRAMES_A_RECORDING = 1000

OPEN = """
import sys, time, json, resource
import numpy as np
from roadcast.data.reel.store import Reel
start = time.perf_counter()
reel = Reel(sys.argv[1])
opened = time.perf_counter()
chance = np.random.default_rng(0)
frames = chance.integers(0, reel.frames, 2000).tolist()
reel.read(frames[0])
times = []
for turn in (0, 1):
    for frame in frames:
        a = time.perf_counter()
        data = reel.jpeg(frame)
        video = reel.video_of(frame)
        b = time.perf_counter()
        reel.read(frame)
        times.append((turn, b - a, time.perf_counter() - a))
turn, find, read = np.array(times).T
medians = [np.median(find[turn == 0]), np.median(find[turn == 1]), np.median(read[turn == 1])]
print(json.dumps([opened - start, *map(float, medians)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="to 10^6 frames, under a minute")
    parser.add_argument("--table", type=Path, help="write the figures as a table to this Markdown file")
    options = parser.parse_args()
    sizes = [10**4, 10**5, 10**6] + ([] if options.quick else [10**7])
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed"
        with ReelWriter(seed, fps=20, height=64, width=128) as writer:
            writer.add(next(ToyroadSource(recordings=1, height=64, width=128).recordings()), "train")
        for size in sizes:
            path = Path(folder) / f"{size}"
            grow(Reel(seed), path, size)
            runs = [json.loads(run(path)) for _ in range(5)]
            rows[size] = {
                name: statistics.median(values) * scale
                for name, scale, values in zip(
                    ("open_ms", "first_find_us", "find_us", "read_us"),
                    (1e3, 1e6, 1e6, 1e6),
                    zip(*runs, strict=True),
                    strict=True,
                )
            }
            print(size, rows[size], flush=True)
    if options.table:
        options.table.write_text(table(rows))
    print(
        json.dumps(
            {f"{name}_{size:.0e}".replace("+0", ""): round(v, 2) for size, r in rows.items() for name, v in r.items()}
        )
    )


def grow(seed: Reel, path: Path, frames: int) -> None:
    """A reel of `frames` frames in recordings of FRAMES_A_RECORDING, each a repetition of the seed's rows."""
    (path / "shards").mkdir(parents=True)
    tables = load_tables(seed.path, seed.header)
    shards = [shard_name(n) for n in range(frames // FRAMES_A_RECORDING)]
    for name in shards:
        (path / "shards" / name).hardlink_to(seed.path / "shards" / shard_name(0))
    tables.shards = {name: seed.header["shards"][shard_name(0)] for name in shards}
    again = np.arange(frames) % seed.frames
    row = tables.videos[0]
    tables.videos = [
        row | {"name": f"{row['name']}-{n}", "first": n * FRAMES_A_RECORDING, "frames": FRAMES_A_RECORDING}
        for n in range(frames // FRAMES_A_RECORDING)
    ]
    tables.index = tables.index[again]
    tables.index["video"] = tables.index["shard"] = np.arange(frames) // FRAMES_A_RECORDING
    tables.index["t_ns"] = np.arange(frames) * 50_000_000
    tables.signals = {name: np.asarray(values)[again] for name, values in tables.signals.items()}
    write_header(path, write_tables(path, "tables/0001", tables, seed.header))


def run(path: Path) -> str:
    return subprocess.run([sys.executable, "-c", OPEN, str(path)], check=True, capture_output=True, text=True).stdout


def table(rows: dict[int, dict[str, float]]) -> str:
    lines = [
        "| frames | open, ms | find a frame first, us | again | find, check and decode, us |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {size:,} | {r['open_ms']:.1f} | {r['first_find_us']:.1f} | {r['find_us']:.1f} | {r['read_us']:.0f} |"
        for size, r in rows.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
