"""A registry in a folder, on one disk or one that is shared."""

import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from roadcast.data.streaming.cache import locked
from roadcast.files import replacing, sync_folder, write_file
from roadcast.serving.store import Record

LOG = "audit.jsonl"


class FolderStore:
    """A `serving.store.Store`.

    audit.jsonl               the log, one JSON object a line
    MODEL/versions/NUMBER/    the files of a version, read-only
    MODEL/aliases/NAME.json   {"version": NUMBER}
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def add(self, model: str, folder: Path) -> int:
        """Keep a copy, whole or not at all; the caller holds the lock."""
        versions = self.folder / model / "versions"
        taken = [int(path.name) for path in versions.glob("*") if path.name.isdigit()]
        number = 1 + max(taken, default=0)
        with replacing(versions / str(number)) as beside:
            shutil.copytree(folder, beside)
            for path in beside.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
        return number

    def fetch(self, model: str, version: int) -> Path:
        """The version's own folder."""
        return self.folder / model / "versions" / str(version)

    def aliases(self, model: str) -> dict[str, int]:
        """By name."""
        files = sorted((self.folder / model / "aliases").glob("[!.]*.json"))
        return {path.stem: json.loads(path.read_text())["version"] for path in files}

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Replace the alias's file in one step; the caller holds the lock."""
        text = json.dumps({"version": version}) + "\n"
        write_file(self.folder / model / "aliases" / f"{alias}.json", lambda path: path.write_text(text))

    def append(self, record: Record) -> None:
        """One more line, flushed; what a writer that was killed left unfinished is cut off before it."""
        path, begun = self.folder / LOG, not (self.folder / LOG).exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as log:
            log.truncate(_whole(path.read_bytes()))
            log.write(json.dumps(record).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())
        if begun:
            sync_folder(self.folder)

    def records(self) -> list[Record]:
        """The log's whole lines."""
        path = self.folder / LOG
        if not path.exists():
            return []
        text = path.read_bytes()
        return [json.loads(line) for line in text[: _whole(text)].splitlines()]

    def locked(self) -> AbstractContextManager[None]:
        """Other processes wait; the lock goes with its holder."""
        return locked(self.folder / ".lock")


def _whole(log: bytes) -> int:
    """The length of a log without an unfinished last line."""
    return log.rfind(b"\n") + 1
