"""The figures of the benchmark of loading as a page of tables."""

import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from loading_data import Data


def table(found: dict[str, Any], result: dict[str, Any], data: Data, command: str) -> str:
    """Markdown."""
    lines = [
        f"`{command}`: {data.origin}, {result['rounds']} rounds; {platform.processor() or platform.machine()}, "
        f"{result['cpus']} processors, load average {result['load_average'][0]} before and {result['load_average'][1]} "
        f"after, torch {torch.__version__}. Medians over the rounds, in brackets the least and the greatest.",
        "", "| figure | median | least to greatest |", "|---|---|---|",
    ]  # fmt: skip
    for name, spread in result["spread"].items():
        lines.append(f"| `{name}` | {result[name]} | {spread[0]} to {spread[1]} |")
    lines += ["", "| clips/s | workers | stride 1 | stride 2 | first batch, s |", "|---|---|---|---|---|"]
    keys = sorted({(s.name, s.workers) for s in found["turns"]}, key=lambda k: list(_names(found)).index(k[0]))
    for name, workers in keys:
        cells = [_rate(found, name, workers, stride) for stride in (1, 2)]
        first = result["first_batch_s"].get(f"{name}, {workers} workers", "")
        lines.append(f"| {name} | {workers} | {cells[0]} | {cells[1]} | {first} |")
    lines += ["", "| memory, MB | " + " | ".join(f"{n} workers" for n in result["pss_mb_by_workers"]) + " |"]
    lines.append("|---" * (1 + len(result["pss_mb_by_workers"])) + "|")
    for title, key in (
        ("PSS of all processes", "pss_mb_by_workers"),
        (f"PSS of the reel's {result['reel_mb']} MB in them", "pss_reel_mb_by_workers"),
        ("RSS of all processes, for comparison", "rss_mb_by_workers"),
    ):
        lines.append(f"| {title} | " + " | ".join(str(x) for x in result[key].values()) + " |")
    lines += ["", "| processor time | us a picture |", "|---|---|"]
    lines += [f"| {name} | {us} |" for name, us in result["cpu_us_per_picture"].items()]
    for name, why in found["missing"].items():
        lines += ["", f"Not measured: {name} ({why})."]
    for name, error in found["wrong"].items():
        lines += ["", f"{name} gave other pictures than were asked for (off by {error:.1f} grey levels)."]
    return "\n".join(lines) + "\n"


def write(path: Path, tables: str) -> None:
    """The tables as a file, or in place of what is below the heading "Figures" of one that is there."""
    before, heading, _ = path.read_text().partition("\n## Figures\n") if path.exists() else ("", "", "")
    path.write_text(f"{before}{heading}\n{tables}" if heading else tables)


def _names(found: dict[str, Any]) -> dict[str, None]:
    return dict.fromkeys(s.name for s in found["turns"])


def _rate(found: dict[str, Any], name: str, workers: int, stride: int) -> str:
    rates = [t["clips_per_s"] for s, turns in found["turns"].items() if s == (name, workers, stride) for t in turns]
    return f"{statistics.median(rates):.3g} ({min(rates):.3g} to {max(rates):.3g})" if rates else ""
