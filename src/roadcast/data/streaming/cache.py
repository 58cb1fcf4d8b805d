"""A folder of this machine that keeps what came from afar, up to a number of bytes."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def usual_cache() -> Path:
    """Where things are kept unless another folder is named: $XDG_CACHE_HOME/roadcast or ~/.cache/roadcast."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roadcast"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class DiskCache:
    """Files of at most `limit` bytes together, those unused for longest removed first; processes and threads may share it."""

    def __init__(self, path: Path, limit: int):
        self.path, self.limit = Path(path), limit
        if self.path.exists():
            with locked(self.path / ".lock"):
                self._make_room(0)

    def get(self, name: str, make: Callable[[], bytes], whole: Callable[[bytes], bool]) -> bytes:
        """The contents kept under `name` if they are `whole`, else those that `make` gives, kept from now on."""
        file = self.path / name
        with suppress(OSError):
            data = file.read_bytes()
            if whole(data):
                os.utime(file)
                return data
            file.unlink()
        data = make()
        if len(data) <= self.limit:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path / ".lock"):
                if not file.exists():
                    self._make_room(len(data))
                    self._keep(file, data)
        return data

    def _keep(self, file: Path, data: bytes) -> None:
        """Write a file whole, or not at all where the disk is full."""
        beside = file.with_name(f".{file.name}.partial")
        try:
            beside.write_bytes(data)
            os.replace(beside, file)
        except OSError:
            beside.unlink(missing_ok=True)

    def _make_room(self, more: int) -> None:
        files = []
        for entry in os.scandir(self.path):
            with suppress(FileNotFoundError):
                if entry.name != ".lock":
                    files.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
        total = sum(size for _, size, _ in files) + more
        for _, size, path in sorted(files):
            if total <= self.limit:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
