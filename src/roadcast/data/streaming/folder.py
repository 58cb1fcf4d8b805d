"""Files that are read in parts, from this machine or from afar, with patience for trouble that passes."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from roadcast.errors import UserError
from roadcast.optional import load_extra

WAITS = (0.1, 0.5, 2.0)
"""Seconds before each further try of a read that failed."""


class Folder(Protocol):
    """A folder whose files are read by name; `read` gives bytes `start` to `end`, fewer where the file is shorter."""

    address: str

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes: ...


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, address: str | Path):
        self.address = str(address)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        with open(os.path.join(self.address, name), "rb", buffering=0) as file:
            if end is None:
                return file.read()
            return os.pread(file.fileno(), end - start, start)


def is_remote(address: str | Path) -> bool:
    """Whether an address is more than a path, as s3://bucket/reel is."""
    return "://" in str(address)


def open_folder(address: str | Path) -> Folder:
    """The folder at a path or, by fsspec, at an address."""
    if is_remote(address):
        return load_extra("remote", f"reading {address}").RemoteFolder(str(address))
    return LocalFolder(address)


def fetch(
    folder: Folder, name: str, start: int = 0, end: int | None = None,
    damage: Callable[[bytes], str | None] = lambda data: None,
) -> bytes:  # fmt: skip
    """Exactly bytes `start` to `end` of a file, or all of it, in which `damage` finds nothing wrong.

    What may pass is tried again after WAITS. Raises `UserError` that names the file for one that is missing, may not be
    read, is too short, is damaged, or still cannot be read.
    """
    where = f"{folder.address}/{name}"
    for wait in (*WAITS, None):
        try:
            data = folder.read(name, start, end)
        except FileNotFoundError:
            raise UserError(f"{where}: is missing; check the address, or copy the reel there again, whole") from None
        except PermissionError as error:
            raise UserError(f"{where}: may not be read ({error}); give yourself access to it") from None
        except OSError as error:
            trouble = str(error) or type(error).__name__
        else:
            if end is not None and len(data) > end - start:
                raise UserError(
                    f"{where}: {len(data)} bytes came where {start} to {end} were asked for, as from a web server that knows no "
                    "ranges; serve the reel from one that does, or copy it to this machine"
                )
            if end is not None and len(data) < end - start:
                trouble = f"{len(data)} bytes came where {start} to {end}, {end - start} bytes, were asked for"
            elif (found := damage(data)) is None:
                return data
            else:
                trouble = found
        if wait is not None:
            time.sleep(wait)
    tries = len(WAITS) + 1
    trouble = " ".join(trouble.split())
    raise UserError(
        f"{where}: cannot be read ({trouble}; {tries} tries); see that it can be reached and is whole, or copy the reel there again"
    )
