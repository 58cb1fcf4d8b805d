"""What readers of one reel cost in memory: proportional set size (PSS), in which a page that n processes map counts 1/n in each."""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from roadcast.data.loading.loader import Batches
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Sampler
from roadcast.data.reel.store import Reel

FORK = multiprocessing.get_context("fork")
BATCHES = 20


def memory(reel: Path, workers: tuple[int, ...]) -> dict[str, Any]:
    """MB of a reader and its worker processes together, by number of workers, once all have touched the whole reel."""
    by_workers = {n: _in_a_process(reel, n) for n in workers}
    most = max(workers)
    each = {key: (by_workers[most][key] - by_workers[0][key]) / most for key in ("pss_mb", "rss_mb", "pss_reel_mb")}
    return {
        "reel_mb": round(sum(file.stat().st_size for file in (reel / "shards").iterdir()) / 1e6, 1),
        "pss_mb_by_workers": {n: round(by_workers[n]["pss_mb"], 1) for n in workers},
        "pss_reel_mb_by_workers": {n: round(by_workers[n]["pss_reel_mb"], 1) for n in workers},
        "rss_mb_by_workers": {n: round(by_workers[n]["rss_mb"], 1) for n in workers},
        "pss_mb_per_worker": round(each["pss_mb"], 1),
        "pss_reel_mb_per_worker": round(each["pss_reel_mb"], 2),
        "rss_mb_per_worker": round(each["rss_mb"], 1),
    }


def _in_a_process(reel: Path, workers: int) -> dict[str, float]:
    mine, its = FORK.Pipe()
    process = FORK.Process(target=_measure, args=(its, reel, workers))
    process.start()
    its.close()
    told = mine.recv()
    process.join()
    return told


class Touching(Batches):
    """Batches whose reader maps and touches all shards first, as it would have after long enough."""

    touched = 0

    def __getitem__(self, step: int) -> Any:
        if not self.touched:
            for shard in sorted(set(self.reader.reels[0].index["shard"].tolist())):
                view = self.reader.reels[0].shard(shard)
                self.touched += sum(view[::4096])
        return super().__getitem__(step)


def _measure(pipe: Connection, path: Path, workers: int) -> None:
    torch.set_num_threads(1)
    reel = Reel(path)
    clips = Touching(Reader([reel], ()), Sampler([reel], "train", 16, 4, seed=0).draw).batches(0, 10**6, workers)
    for _ in range(BATCHES):
        next(clips)
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]
    pipe.send(
        {
            "pss_mb": sum(kilobytes(pid, "Pss") for pid in pids) / 1e3,
            "rss_mb": sum(kilobytes(pid, "Rss") for pid in pids) / 1e3,
            "pss_reel_mb": sum(mapped(pid, path / "shards") for pid in pids) / 1e3,
        }
    )
    del clips


def kilobytes(pid: int, what: str) -> int:
    """A figure of a process's whole memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1])
    raise LookupError(what)


def mapped(pid: int, folder: Path) -> int:
    """PSS in kB of the files in a folder that a process maps."""
    return sum(_mapped(pid, str(folder.resolve())))


def _mapped(pid: int, folder: str) -> Iterator[int]:
    here = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            here = len(words) > 5 and words[5].startswith(folder)
        elif here and words[0] == "Pss:":
            yield int(words[1])
