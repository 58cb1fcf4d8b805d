"""How full the memory is, and what is done before it overflows."""

import gc
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from roadcast.training.metrics import Log

CLEAN, WARN = 0.80, 0.95  # of the budget
STEP = 0.02  # of the budget: how much more must be in use, after a clean-up that did not help, before the next one


class MemoryMonitor:
    """Watches the memory that training takes, against a budget.

    At CLEAN of it, garbage is collected and what the allocator holds unused is given back; at WARN a warning says what takes it.
    On a GPU that is memory reserved there, elsewhere memory of this process.

    budget_gb  10^9 bytes; 0: all of the GPU's, or this process's share of the machine's
    parts      bytes of each component that is known, for the warning
    cleanups   how often was cleaned up
    """

    def __init__(self, device: torch.device, budget_gb: float, parts: Callable[[], dict[str, int]]):
        self.device, self.parts = device, parts
        self.budget = budget_gb * 1e9 or available(device)
        self.cleanups = 0
        self.settled = 0.0  # what was in use after the last clean-up
        self.warned = False

    def look(self, step: int, log: Log) -> None:
        """After a step: clean up, or warn, where it is time to; what was done is an event in the log."""
        used = in_use(self.device)
        if used > max(CLEAN * self.budget, self.settled + STEP * self.budget):
            clean(self.device)
            self.cleanups += 1
            self.settled = in_use(self.device)
            log.event(step, "memory", f"{told(used, self.budget)}: cleaned up, {told(self.settled, self.budget)} now")
            used = self.settled
        if used < CLEAN * self.budget:
            self.settled, self.warned = 0.0, False
        if used > WARN * self.budget and not self.warned:
            self.warned = True
            parts = self.parts()
            parts["activations and the rest"] = max(0, int(used) - sum(parts.values()))
            table = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in parts.items())
            log.event(
                step, "memory",
                f"{told(used, self.budget)}: {table}; lower batch and raise accumulate, or set remat = 'block'", **parts,
            )  # fmt: skip

    def share(self) -> float:
        """What is in use, of the budget."""
        return in_use(self.device) / self.budget

    def figures(self) -> dict[str, float]:
        """For the log: 10^9 bytes in use, the share of the budget, clean-ups so far, the GPU's utilisation where it can be told."""
        figures = {"host_gb": host_bytes() / 1e9}
        if self.device.type == "cuda":
            figures["allocated_gb"] = torch.cuda.memory_allocated(self.device) / 1e9
            figures["reserved_gb"] = torch.cuda.memory_reserved(self.device) / 1e9
            figures |= gpu_utilisation(self.device)
        return figures | {"memory_share": self.share(), "cleanups": float(self.cleanups)}


def told(used: float, budget: float) -> str:
    """`12.1 of 16.0 GB (76 %)`."""
    return f"{used / 1e9:.2f} of {budget / 1e9:.2f} GB ({used / budget:.0%}) in use"


def clean(device: torch.device) -> None:
    """Collect garbage, and give unused memory back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def in_use(device: torch.device) -> float:
    """Bytes of the memory that is scarce."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else host_bytes()


def available(device: torch.device) -> float:
    """Bytes there are: of the GPU, or of this process's share of the machine, within its control group's limit."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return total / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def host_bytes() -> float:
    """Resident bytes of this process; where the system does not tell, the most there have been."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def gpu_utilisation(device: torch.device) -> dict[str, float]:
    """Share of the last moments in which the GPU ran anything; nothing where its library is not installed."""
    try:
        return {"gpu_utilisation": torch.cuda.utilization(device) / 100}
    except (ImportError, RuntimeError):
        return {}
