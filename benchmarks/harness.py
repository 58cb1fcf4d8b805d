"""Runs a benchmark several times, and tells where it has become slower, or otherwise worse, than it was on this machine.

    python benchmarks/harness.py BENCHMARK [ARGUMENT ...] [--repeats 5] [--baselines docs/results/baselines] [--update]

BENCHMARK is the name of a script beside this one, or a path; its arguments come after it, `--quick` where there are none. Of its output
the last line counts: a JSON object, whose numbers are told by dotted names. The baseline is BASELINES/MACHINE/BENCHMARK.json, which the
first run makes, and `--update` makes anew. A figure is flagged where it is worse than its baseline beyond noise:

    z = (median now - median then) / (1.4826 max(MAD now, MAD then)),    |z| > 3.5  and  |median now / median then - 1| > 0.05

MAD is the median absolute deviation over the repeats, which one slow run does not move; the score and its threshold are Iglewicz & Hoaglin
1993, "How to detect and handle outliers". The share keeps a figure that never varies from being flagged for its last digit. Which way
is worse is told by the figure's name (WORSE); one that is in neither list is shown and never flagged. Exit code 1 where any is flagged.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from roadcast.files import write_file

THRESHOLD, SHARE, NORMAL = 3.5, 0.05, 1.4826
WORSE = {
    "lower": ("fps", "per_s", "per_second", "speedup", "throughput", "mfu", "psnr", "ssim", "flatness", "gb_s", "mb_s"),
    "higher": ("s", "ms", "us", "ns", "seconds", "p50", "p99", "bytes", "kb", "mb", "gb", "error", "loss", "overhead"),
}
"""Which way a figure gets worse, by the words that its name ends with or, for rates, holds."""

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Figure:
    """One figure over the repeats: its median, its median absolute deviation, and how many there were."""

    median: float
    mad: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        middle = median(values)
        return cls(middle, median(abs(value - middle) for value in values), len(values))


@dataclass(frozen=True)
class Change:
    """A figure against its baseline; `verdict` is worse, better, or "" where it is within noise or has no direction."""

    name: str
    then: Figure
    now: Figure
    z: float
    verdict: str


def flat(values: Any, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON object by dotted names."""
    if isinstance(values, dict):
        return {k: v for key, value in values.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    if isinstance(values, list):
        return flat(dict(enumerate(values)), prefix)
    return {prefix[:-1]: float(values)} if isinstance(values, int | float) and not isinstance(values, bool) else {}


def worse_way(name: str) -> str:
    """Which way a figure of that name gets worse: "lower", "higher", or "" where nobody can tell."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    joined = f"_{'_'.join(words)}_"
    if any(f"_{rate}_" in joined for rate in WORSE["lower"]):
        return "lower"
    return "higher" if any(word in WORSE["higher"] for word in words[-2:]) else ""


def compare(name: str, then: Figure, now: Figure) -> Change:
    """The rule at the head of this file."""
    moved = now.median - then.median
    noise = NORMAL * max(then.mad, now.mad)
    z = moved / noise if noise else (0.0 if not moved else float("inf") if moved > 0 else float("-inf"))
    beyond = abs(z) > THRESHOLD and abs(moved) > SHARE * abs(then.median)
    way = worse_way(name)
    if not (beyond and way):
        return Change(name, then, now, z, "")
    return Change(name, then, now, z, "worse" if (moved > 0) == (way == "higher") else "better")


def run(script: Path, arguments: Sequence[str], repeats: int) -> dict[str, Figure]:
    """The figures of a benchmark that every repeat told."""
    told: list[dict[str, float]] = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{script.name} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
        try:
            told.append(flat(json.loads(done.stdout.strip().splitlines()[-1])))
        except (IndexError, ValueError):
            sys.exit(f"{script.name}: its last line is no JSON object")
    return {name: Figure.of([one[name] for one in told]) for name in told[0] if all(name in one for one in told)}


def machine() -> str:
    """A name for this machine that is the same as long as its processor and its cores are."""
    words = [platform.system(), platform.machine(), cpu_model(), f"{os.cpu_count()} cores"]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def cpu_model() -> str:
    """What the processor calls itself, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def commit() -> str:
    """What is checked out."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return asked.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--baselines", type=Path, default=ROOT.parent / "docs/results/baselines")
    parser.add_argument("--update", action="store_true", help="what is measured now becomes the baseline")
    given, arguments = parser.parse_known_args()
    script = path if (path := Path(given.benchmark)).is_file() else ROOT / f"{given.benchmark}.py"
    if not script.is_file():
        sys.exit(
            f"{given.benchmark}: no such benchmark; choose one of {', '.join(sorted(p.stem for p in ROOT.glob('*.py')))}"
        )
    arguments = arguments or ["--quick"]
    baseline = given.baselines / machine() / f"{script.stem}.json"
    now = run(script, arguments, given.repeats)
    if given.update or not baseline.exists():
        kept = {"arguments": arguments, "figures": {name: asdict(figure) for name, figure in now.items()}}
        write_file(baseline, lambda beside: beside.write_text(json.dumps(kept, indent=1) + "\n"))
        print(f"baseline: {baseline}")
        return
    kept = json.loads(baseline.read_text())
    if kept["arguments"] != arguments:
        sys.exit(f"{baseline}: was made with {kept['arguments']}, not {arguments}; use the same, or --update")
    changes = [compare(name, Figure(**then), now[name]) for name, then in kept["figures"].items() if name in now]
    for c in changes:
        print(f"{c.name:40} {c.then.median:12.5g} -> {c.now.median:12.5g}  z {c.z:+8.1f}  {c.verdict}")
    worse = [c.name for c in changes if c.verdict == "worse"]
    print(json.dumps({"figures": len(changes), "worse": worse, "missing": sorted(kept["figures"].keys() - now.keys())}))
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
