"""What commands, poses and pictures say of each other: latency and sign of steering, visual odometry, copies between splits.

    python benchmarks/signals.py [--quick] [--data FOLDER] [--table FILE]

On the donkeycar tubs and KITTI below --data, where they are, and on the built-in world, whose motion is known.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.signals.alignment import latency, reel_stretches, sign_warnings
from roadcast.data.signals.odometry import odometry
from roadcast.data.splits.leakage import alike, find_copies, reel_codes

SIZE = {"height": 120, "width": 160, "fps": 20.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the built-in world and one tub, under a minute")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--table", type=Path, help="write the figures as tables to this Markdown file")
    options = parser.parse_args()
    tubs = sorted(options.data.glob("donkey/*.tar.gz"))
    tubs = [tub for tub in tubs if tub.name.startswith("elsewhere")] if options.quick else tubs
    figures: dict[str, Any] = {"steering": {}, "odometry": {}, "copies": {}}
    with tempfile.TemporaryDirectory() as folder:
        reels = {tub.name.partition(".")[0]: Path(folder) / tub.name for tub in tubs}
        for tub in tubs:
            ingest(tub, reels[tub.name.partition(".")[0]], **SIZE)
        for name, path in reels.items():
            figures["steering"][name] = steering(Reel(path))
            print(name, figures["steering"][name], flush=True)
        drives = 2 if options.quick else 6
        toy = Path(folder) / "toy"
        ingest(
            f"toyroad:recordings={drives},frames=200,height=128,width=256", toy, height=128, width=256, split="train"
        )
        figures["odometry"]["toyroad"] = odometry_against(Reel(toy), "yaw_rate", 200)
        if (kitti := options.data / "kitti").is_dir():
            ingest(kitti, Path(folder) / "kitti", height=370, width=1224, fps=10, min_seconds=0, sensors=())
            figures["odometry"]["kitti"] = odometry_against(Reel(Path(folder) / "kitti"), "yaw_rate", 6)
        if "track_a" in reels:
            figures["odometry"]["track_a"] = odometry_against(Reel(reels["track_a"]), "steer", 1000)
        print(figures["odometry"], flush=True)
        if {"track_a", "track_b"} <= reels.keys():
            both = Path(folder) / "both"
            ingest(options.data / "donkey" / "track_a.tar.gz", both, **SIZE)
            ingest(options.data / "donkey" / "track_b.tar.gz", both, **SIZE, append=True)
            figures["copies"] = copies(Reel(both))
    figures["copies"]["alike_100k_s"] = speed_of_search(20_000 if options.quick else 100_000)
    if options.table:
        options.table.write_text(tables(figures))
    print(json.dumps(figures))


def steering(reel: Reel) -> dict[str, Any]:
    """Lag (s), its interval, correlation and chance of the steering against the picture's motion, and whether its sign is warned of."""
    stretches = reel_stretches(reel)
    found = latency([stretch for own in stretches.values() for stretch in own])
    figures = {key: round(float(getattr(found, key)), 3) for key in ("lag", "low", "high", "correlation", "p")}
    return figures | {"warned": len(sign_warnings(stretches))}


def odometry_against(reel: Reel, truth: str, frames: int) -> dict[str, float]:
    """Correlation of the odometry's yaw rate with a signal at the best lag up to 0.4 s; RMSE in rad/s where it is a yaw rate."""
    mine, theirs = [], []
    begin, count = time.process_time(), 0
    for video in reel.videos:
        found = odometry(reel, video._replace(frames=min(frames, video.frames)))
        count += len(found.t_ns)
        mine.append(found.yaw_rate)
        theirs.append(reel.signals[truth][video.first : video.first + len(found.t_ns)])
    cpu_ms = (time.process_time() - begin) / count * 1e3
    best = {"correlation": 0.0}
    for lag in range(1 if truth == "yaw_rate" else int(0.4 * reel.fps) + 1):
        a = np.concatenate([x[lag:] for x in mine])
        b = np.concatenate([y[: len(y) - lag] for y in theirs])
        known = np.isfinite(a) & np.isfinite(b)
        r = float(np.corrcoef(a[known], b[known])[0, 1])
        if abs(r) > abs(best["correlation"]):
            best = {"correlation": round(r, 3), "lag_s": lag / reel.fps, "known": round(float(known.mean()), 3)}
            if truth == "yaw_rate":
                best["rmse"] = round(float(np.sqrt(np.mean((a[known] - b[known]) ** 2))), 4)
    return best | {"cpu_ms_a_picture": round(cpu_ms, 1)}


def copies(reel: Reel) -> dict[str, Any]:
    """Pictures of one tub that have a copy, or merely a like, in the other."""
    begin = time.perf_counter()
    found = find_copies(
        reel, [video.name.partition("-")[0] == "track_a" for video in reel.videos], codes=reel_codes(reel)
    )
    seconds = time.perf_counter() - begin
    return {
        "asked": found.asked,
        "alike": len(found.frames),
        "copies": int(found.copies.sum()),
        "seconds": round(seconds, 1),
    }


def speed_of_search(count: int) -> float:
    """Seconds to look for the likes of a tenth of `count` pictures by their codes."""
    chance = np.random.default_rng(0)
    codes = chance.normal(size=(count, 64)).astype(np.float16)
    sides = (np.arange(count) >= count * 9 // 10).astype(int)
    begin = time.perf_counter()
    alike(codes, sides, sides == 1)
    return round(time.perf_counter() - begin, 2)


def tables(figures: dict[str, Any]) -> str:
    lines = ["| tub | lag, s (middle 90 %) | correlation | p | sign warned of |", "|---|---|---|---|---|"]
    for name, s in figures["steering"].items():
        lag = f"{s['lag']:.3f} ({s['low']:.3f} to {s['high']:.3f})"
        lines.append(f"| {name} | {lag} | {s['correlation']:+.2f} | {s['p']:g} | {'yes' if s['warned'] else 'no'} |")
    lines += [
        "",
        "| visual odometry on | against | correlation | RMSE, rad/s | known | CPU ms a picture |",
        "|---|---|---|---|---|---|",
    ]
    for name, o in figures["odometry"].items():
        against = "steer" if name == "track_a" else "true yaw rate"
        lag = f" at {o['lag_s']:.2f} s" if o["lag_s"] else ""
        lines.append(
            f"| {name} | {against}{lag} | {o['correlation']:.3f} | {o.get('rmse', '')} | {o['known']:.0%} | {o['cpu_ms_a_picture']} |"
        )
    c = figures["copies"]
    if "asked" in c:
        told = f"{c['alike']} have a like in the other tub, {c['copies']} a copy; {c['seconds']} s"
        lines += ["", f"track_a and track_b, {c['asked']} pictures: {told}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
