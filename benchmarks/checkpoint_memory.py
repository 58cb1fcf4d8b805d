"""What a save takes of host memory and of time: a state of one gigabyte on the CPU, in the foreground and in the background.

    python benchmarks/checkpoint_memory.py FOLDER [--megabytes 1024] [--quick]

For each way, in a process of its own: the peak of resident memory during the save over the state's size (the state itself is in host
memory too, as it is not where a GPU trains), the seconds that training stands still, and the seconds until all is durable.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from roadcast.files import remove
from roadcast.training.checkpoints import Checkpoints

TENSORS = 64


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the peak) of this process [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(folder: Path, megabytes: int, background: bool) -> str:
    """One save, as a row of the table."""
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
    extra = resident("VmHWM") - before
    way = "background" if background else "foreground"
    return f"| {way} | {size / 2**20:.0f} | {1 + extra / size:.3f} | {stood:.2f} | {durable:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--way", choices=("foreground", "background"), help="measure one, in this process")
    options = parser.parse_args()
    if options.way:
        print(measure(options.folder, options.megabytes, options.way == "background"))
        return
    print("| save | state, MB | peak / state | stands still, s | durable, s |\n|---|---|---|---|---|", flush=True)
    for way in ("foreground", "background"):
        command = [sys.executable, __file__, str(options.folder), "--megabytes", str(options.megabytes), "--way", way]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        remove(options.folder / "state")


if __name__ == "__main__":
    main()
