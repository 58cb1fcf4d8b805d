import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest

from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording

FRAMES = 40


def read_all(path: Path, ready, done) -> None:
    firsts = np.arange(FRAMES)
    reader = Reader([Reel(path)], ())
    reader.read(Draw(0 * firsts, 0 * firsts, firsts, firsts, frames=1))
    ready.release()
    done.wait(60)
    del reader


def shard_kilobytes(pid: int | None, what: str) -> int:
    """How much of the reel's shards a process maps: Rss counts a page whole, Pss shares it out among those who map it."""
    total, here = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            here = line.endswith(".bin")
        elif here and words[0] == f"{what}:":
            total += int(words[1])
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/smaps is Linux's")
def test_processes_share_one_copy_of_the_reel(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 96, 128, 3), dtype=np.uint8)
    with ReelWriter(tmp_path / "reel", fps=20.0, height=96, width=128) as writer:
        writer.add(Recording("a", "made", lambda: ((n * 50_000_000, noise[n]) for n in range(FRAMES)), {}), "train")
    size = sum(file.stat().st_size for file in (tmp_path / "reel" / "shards").iterdir()) / 1024
    assert size > 500
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Semaphore(0), fork.Event()
    readers = [fork.Process(target=read_all, args=(tmp_path / "reel", ready, done)) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert all(ready.acquire(timeout=60) for _ in readers)
    alone = [shard_kilobytes(reader.pid, "Rss") for reader in readers]
    together = sum(shard_kilobytes(reader.pid, "Pss") for reader in readers)
    done.set()
    for reader in readers:
        reader.join()
    assert min(alone) > 0.9 * size
    assert 0.9 * size < together < 1.1 * size
