"""Everything there is to measure on one GPU, in one call of a few minutes.

    PYTHONPATH=src python -m benchmarks.gpu OUT [--minutes 9] [--only PART ...] [--device cpu --micro]

Run from the root of the repository; torch, einops, OpenCV and numpy suffice. The parts (parts.py) run one after another, the most
important first, each in a process of its own, so that one that crashes, hangs or spoils the device costs its own rows alone. None
gets more than half of the minutes: a compiler that does not come back must not take the others' time. After every row
OUT/results.md and OUT/results.json hold all that is known; OUT/log.txt is what the parts said. What the time does not reach is
listed, for a second call with --only. --micro does all in sizes that prove the code and nothing else.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from benchmarks.gpu.machine import Machine, Row, attempt
from benchmarks.gpu.parts import PARTS

LEAST_S = 20  # that must be left for a part to be begun

Tables = dict[str, list[Row]]


def run_here(part: str, machine: Machine) -> None:
    """One part in this process: a line of JSON a row, and an empty row at the end."""
    with torch.no_grad():
        rows, row = PARTS[part].rows(machine), {"begun": part}
        while row:
            row = attempt({}, lambda: next(rows, {}))
            print(json.dumps(row), flush=True)


def run_apart(part: str, machine: Machine, seconds: float, tables: Tables, out: Path) -> None:
    """One part in its own process, killed with all it has started (compilers' workers outlive it) when it or the time is over."""
    command = [sys.executable, "-m", "benchmarks.gpu", str(out), "--part", part, "--device", machine.device]
    command += ["--micro"] * machine.micro
    with (out / "log.txt").open("a") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        timer = threading.Timer(seconds, kill, (child,))
        timer.start()
        assert child.stdout is not None
        for line in child.stdout:
            if not (row := json.loads(line)):
                break
            add(row, part, tables, out)
        else:
            why = "it ended; see log.txt" if timer.is_alive() else f"it was stopped after {seconds:.0f} s"
            add({"error": f"not whole: {why}"}, part, tables, out)
        timer.cancel()
        kill(child)
        child.wait()


def kill(child: subprocess.Popen) -> None:
    """End a process and whatever runs in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def add(row: Row, part: str, tables: Tables, out: Path) -> None:
    tables[part].append(row)
    print(part, json.dumps(row), flush=True)
    (out / "results.md").write_text(markdown(tables))
    (out / "results.json").write_text(json.dumps(tables, indent=1))


def markdown(tables: Tables) -> str:
    """A table a part; its columns are all that its rows have, in the order they come."""
    text = []
    for part, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [columns, ["---"] * len(columns), *([show(row.get(column)) for column in columns] for row in rows)]
        text += ["", f"## {part}", "", PARTS[part].goal if part in PARTS else "", ""]
        text += [f"| {' | '.join(line)} |" for line in lines] if rows else ["Not run."]
    return "\n".join(text[1:]) + "\n"


def show(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument(
        "--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--micro", action="store_true")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    machine = Machine(given.device, given.micro)
    if given.part:
        run_here(given.part, machine)
        return
    ends = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    tables: Tables = {"machine": [], **{part: [] for part in given.only}}
    name = torch.cuda.get_device_name(given.device) if machine.on_gpu else "a CPU"
    add({"device": name, "torch": torch.__version__, "micro": str(given.micro)}, "machine", tables, given.out)
    for part in given.only:
        left = ends - time.monotonic()
        if left > LEAST_S:
            run_apart(part, machine, min(left, 30 * given.minutes), tables, given.out)
    missed = [part for part in given.only if not tables[part]]
    if missed:
        print(f"no time was left for: {' '.join(missed)}")


if __name__ == "__main__":
    main()
