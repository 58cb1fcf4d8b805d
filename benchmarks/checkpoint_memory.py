"""What a save takes of host memory and of time: a state of one gigabyte on the CPU, in the foreground and in the background.

    python benchmarks/checkpoint_memory.py [FOLDER] [--megabytes 1024] [--quick]

For each way, in a process of its own: the peak of resident memory during the save over the state's size (the state itself is in host
memory too, as it is not where a GPU trains), the seconds that training stands still, and the seconds until all is durable. The
last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from roadcast.training.checkpoints import Checkpoints

TENSORS = 64
WAYS = ("foreground", "background")


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the peak) of this process [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(folder: Path, megabytes: int, background: bool) -> dict[str, float]:
    """One save."""
    torch.set_num_threads(1)
    checkpoints = Checkpoints(folder / "state", keep=1, background=background, report=print)
    checkpoints.save(0, {"model": {"w": torch.zeros(8)}}, {})  # what is loaded at the first save is not counted
    checkpoints.wait()
    tensors = {f"{n}": torch.rand(megabytes * 2**18 // TENSORS) for n in range(TENSORS)}
    size = sum(tensor.nbytes for tensor in tensors.values())
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, started = resident("VmRSS"), time.perf_counter()
    checkpoints.save(1, {"model": tensors}, {})
    stood = time.perf_counter() - started
    checkpoints.wait()
    durable = time.perf_counter() - started
    return {
        "state_mb": size / 2**20,
        "peak_over_state": 1 + (resident("VmHWM") - before) / size,
        "stands_still_s": stood,
        "durable_s": durable,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", nargs="?", default=Path(), help="on the disk to be written to"
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--quick", action="store_true", help="256 megabytes")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # measure one, in this process
    given = parser.parse_args()
    megabytes = 256 if given.quick else given.megabytes
    if given.way:
        print(json.dumps(measure(given.folder, megabytes, given.way == "background")))
        return
    print("| save | state, MB | peak / state | stands still, s | durable, s |\n|---|---|---|---|---|", flush=True)
    figures = {}
    given.folder.mkdir(parents=True, exist_ok=True)
    for way in WAYS:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            command = [sys.executable, __file__, folder, "--megabytes", str(megabytes), "--way", way]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        row = json.loads(told)
        print(
            f"| {way} | {row['state_mb']:.0f} | {row['peak_over_state']:.3f} | {row['stands_still_s']:.2f} | {row['durable_s']:.2f} |"
        )
        figures |= {f"{way}_{name}": round(value, 3) for name, value in row.items()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
