"""What made a run: code, machine and data, written beside its configuration so that it can be made again."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import cv2
import torch

import roadcast
from roadcast.data.reel.store import Reel
from roadcast.files import write_file

NAME = "record.json"
KEPT = ("torch", "numpy", "einops", "opencv-python-headless", "opencv-python", "torchao")


def write_record(folder: Path, reels: Sequence[Reel], seed: int, precision: str, ranks: int) -> dict[str, Any]:
    """Write `folder`/record.json, or take the one that is there: a run's record is of its beginning.

    It holds the command, roadcast's version and git state, Python, libraries and machine, each reel's path and fingerprint, the
    seed, the precision that was chosen, and the number of processes.
    """
    if (record := read_record(folder)) is not None:
        return record
    record = {
        "roadcast": roadcast.__version__,
        "command": sys.argv,
        "git": git_state(Path(roadcast.__file__).parent),
        "environment": environment(),
        "reels": [{"path": str(reel.path), "fingerprint": reel.fingerprint} for reel in reels],
        "seed": seed,
        "precision": precision,
        "processes": ranks,
    }
    write_file(folder / NAME, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
    return record


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in `folder`, or None where there is none."""
    path = folder / NAME
    return json.loads(path.read_text()) if path.exists() else None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and changed files of the checkout that `folder` lies in; None where it lies in none, as an installed package."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        if git("ls-files", "--", str(folder / "__init__.py")) == "":
            return None
        return {
            "commit": git("rev-parse", "HEAD"),
            "branch": git("rev-parse", "--abbrev-ref", "HEAD"),
            "changed": git("status", "--porcelain", "--untracked-files=no").splitlines(),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """Python, the libraries that numbers pass through, and the machine."""
    versions = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"] in KEPT}
    device = {}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        device = {"gpus": names, "cuda": torch.version.cuda}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "opencv": cv2.__version__,
        "libraries": versions,
        **device,
    }
