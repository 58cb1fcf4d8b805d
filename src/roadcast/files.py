"""Files that are either whole or absent: written beside, flushed to the disk, then renamed into place."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadcast.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
BARRED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder at; on leaving without an error it takes `path`'s place.

    Everything below it is on the disk before the rename, so after a crash `path` is the old one or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = partial(path)
    remove(beside)
    try:
        yield beside
        sync(beside)
        if path.is_dir():
            remove(path)
        os.replace(beside, path)
        sync_folder(path.parent)
    finally:
        remove(beside)


def partial(path: Path) -> Path:
    """Where what will be at `path` is written first, beside it."""
    return path.with_name(f".{path.name}.partial")


def partials(folder: Path) -> list[Path]:
    """What writers below `folder` that were killed have left, and no reader looks at."""
    return sorted(folder.glob(f"{partial(folder / '*').name}"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """`write` called with a path beside `path`, which then takes its place."""
    with replacing(path) as beside:
        write(beside)


def sync(path: Path) -> None:
    """Flush a file, or every file and folder below a folder, to the disk."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
        sync_folder(path)
    else:
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's own entries, so that a rename inside it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, or do nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_trouble_told(path: Path, again: str) -> Iterator[None]:
    """A disk that is full or bars one, met while writing below `path`, told as a `UserError`: place, reason, remedy, `again`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL | BARRED:
            raise
        remedy = "make room there" if error.errno in FULL else "give yourself access to it"
        raise UserError(f"{error.filename or path}: {error.strerror}; {remedy}, {again}") from None
