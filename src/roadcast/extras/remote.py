"""Folders at addresses that fsspec knows: memory, http, s3, and what else it has file systems for."""

import os

import fsspec

from roadcast.errors import UserError


class RemoteFolder:
    """A folder at an address such as s3://bucket/reel, read in parts.

    Raises `UserError` for an address whose kind is unknown, or whose own package is not installed.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self._open()

    def _open(self) -> None:
        """File systems do not survive a fork; the number of the process comes last, so that no thread sees it with the old one."""
        address = self.address
        try:
            self._files, self._path = fsspec.core.url_to_fs(address)
            self._process = os.getpid()
        except ImportError as error:
            raise UserError(f"{address}: {error}; install that with pip") from None
        except ValueError as error:
            raise UserError(f"{address}: {error}; give a folder, or an address such as s3://bucket/reel") from None

    def __reduce__(self):
        return RemoteFolder, (self.address,)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes `start` to `end` of a file, fewer where it is shorter; any failure is an `OSError`."""
        if self._process != os.getpid():
            self._open()
        try:
            return self._files.cat_file(f"{self._path}/{name}", start, end)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
