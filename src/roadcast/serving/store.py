"""What a registry asks of the place where its bytes lie."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Record = dict[str, Any]


class Store(Protocol):
    """Where a registry's bytes lie. What they mean is the registry's affair."""

    def add(self, model: str, folder: Path) -> int:
        """Keep a copy of `folder` under the model's next number."""
        ...

    def fetch(self, model: str, version: int) -> Path:
        """A local folder with a version's files, to be read only."""
        ...

    def aliases(self, model: str) -> dict[str, int]: ...

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Let an alias name a version; a reader sees the old one or the new."""
        ...

    def append(self, record: Record) -> None:
        """Add a record of a `record["model"]` to the log; it is on the disk on return."""
        ...

    def records(self) -> list[Record]:
        """The log, oldest first."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """One writer at a time, as far as the store can hold writers off."""
        ...
