"""Versions of worlds that never change, names that move from one to the next, and a log of who moved them and why."""

import getpass
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadcast.download import CACHE
from roadcast.errors import UserError
from roadcast.optional import load_extra
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.manifest import check_files, digest
from roadcast.serving.store import Record, Store

SILENT_S = 900.0
"""After so long, a process elsewhere that has begun to load a version and was not heard of again is taken to have died of it."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Version:
    """A version: when it was pushed, its manifest's SHA-256, and why it was quarantined, "" if it was not."""

    number: int
    pushed: str
    digest: str
    quarantined: str


class Registry:
    """Models, their versions and their aliases over a store.

    Every change is first a record in the log (time, who, event, model, version, why) and then done. A version is one only once
    its push is recorded; its quarantine and the past of an alias are read from the log too.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time):
        self.store, self.clock = store, clock

    @classmethod
    def open(cls, where: str) -> "Registry":
        """The registry in a folder, or at "mlflow:URI". Raises `UserError` where MLflow is asked for and not installed."""
        kind, mark, uri = where.partition(":")
        if kind == "mlflow" and mark:
            return cls(load_extra("mlflow_store", "a registry in MLflow").MlflowStore(uri, CACHE / "models"))
        return cls(FolderStore(Path(where)))

    def push(self, model: str, folder: Path) -> int:
        """Keep the version in `folder`, as `serving.pack` made it, under the model's next number.

        Raises `UserError` where a file is not the one in the manifest, or the name is none.
        """
        _checked_name("model", model)
        check_files(folder)
        with self.store.locked():
            version = self.store.add(model, folder)
            self._record("push", model, version, digest=digest(folder))
        return version

    def models(self) -> list[str]:
        """The models that have a version."""
        return sorted({record["model"] for record in self.store.records() if record["event"] == "push"})

    def versions(self, model: str) -> list[Version]:
        """A model's versions, oldest first; `UserError` for a model that has none."""
        return self._versions(model, self._told(model))

    def _told(self, model: str) -> list[Record]:
        return [record for record in self.store.records() if record["model"] == model]

    def _versions(self, model: str, records: list[Record]) -> list[Version]:
        bad = {record["version"]: record["why"] for record in records if record["event"] == "quarantine"}
        found = [
            Version(record["version"], record["time"], record["digest"], bad.get(record["version"], ""))
            for record in records
            if record["event"] == "push"
        ]
        if not found:
            models = ", ".join(self.models()) or "none yet; push one with `roadcast models push`"
            raise UserError(f"model {model!r} is not in the registry, which has {models}")
        return found

    def version(self, model: str, number: int) -> Version:
        """One of them; `UserError` where there is none of that number."""
        versions = {version.number: version for version in self.versions(model)}
        if number not in versions:
            raise UserError(f"{model}/{number}: no such version; choose one of {', '.join(map(str, versions))}")
        return versions[number]

    def aliases(self, model: str) -> dict[str, int]:
        """The version that each alias of a model names."""
        return self.store.aliases(model)

    def resolve(self, reference: str) -> tuple[str, int]:
        """Model and version of "mine/3" or "mine@production"; `UserError` where it names nothing."""
        model, mark, which = reference.partition("@" if "@" in reference else "/")
        if mark == "/" and which.isdigit():
            return model, self.version(model, int(which)).number
        if mark != "@":
            raise UserError(
                f"{reference!r} names no version; write MODEL/NUMBER or MODEL@ALIAS, such as mine@production"
            )
        self.versions(model)
        aliases = self.aliases(model)
        if which not in aliases:
            raise UserError(f"{reference}: no such alias; {model} has {', '.join(sorted(aliases)) or 'none'}")
        return model, aliases[which]

    def fetch(self, model: str, number: int) -> Path:
        """A local folder with the version, every byte of it as it was pushed, or a `UserError`."""
        pushed = self.version(model, number)
        folder = self.store.fetch(model, number)
        check_files(folder)
        if digest(folder) != pushed.digest:
            raise UserError(f"{model}/{number}: its manifest is not the one that was pushed; push the world again")
        return folder

    def promote(self, model: str, number: int, alias: str, why: str = "") -> None:
        """Let `alias` name this version; `UserError` where it is quarantined. Whether it is fit to is the gate's to say."""
        _checked_name("alias", alias)
        with self.store.locked():
            self.check_good(model, number)
            self._move(model, alias, number, why)

    def check_good(self, model: str, number: int) -> None:
        """Raise `UserError` where there is no such version or it is quarantined."""
        if reason := self.version(model, number).quarantined:
            raise UserError(f"{model}/{number} is quarantined ({reason}); mend the world and push it as a new version")

    def refuse(self, model: str, number: int, alias: str, why: str) -> None:
        """Record that the gate did not let a version through."""
        with self.store.locked():
            self._record("refuse", model, number, alias=alias, why=why)

    def passed(self, model: str, number: int, build: dict[str, str]) -> None:
        """Record that the gate let a version through, on such a machine and software (`manifest.build`)."""
        with self.store.locked():
            self._record("pass", model, number, build=build)

    def has_passed(self, model: str, number: int, build: dict[str, str]) -> bool:
        """Whether the gate has let a version through on such a build, and none has refused it since."""
        said = [r for r in self._of(model, number) if r["event"] == "refuse" or r.get("build") == build]
        return bool(said) and said[-1]["event"] == "pass"

    def loading(self, model: str, number: int) -> None:
        """Record that this process is about to load a version of which it is not known that one can live with it."""
        self._while_suspect("load", model, number, pid=os.getpid())

    def unloaded(self, model: str, number: int) -> None:
        """Record that the process is still there after what it said in `loading`, though the version is loaded no more."""
        self._while_suspect("unload", model, number, pid=os.getpid())

    def lived(self, model: str, number: int) -> None:
        """Record that a process has lived with a version for its first minute, which puts it beyond suspicion."""
        self._while_suspect("lived", model, number)

    def deaths(self, model: str, number: int) -> int:
        """How many processes are no more that were loading a version, or had it in its first minute; 0 once one has lived."""
        if self._has_lived(model, number):
            return 0
        deaths, begun = 0, dict[tuple[str, int], str]()
        for record in self._of(model, number):
            process = record["who"], record.get("pid", 0)
            if record["event"] == "load":
                deaths += process in begun  # another one of the same number, which has not closed what it began
                begun[process] = record["time"]
            elif record["event"] == "unload":
                begun.pop(process, None)
        return deaths + sum(self._is_gone(*process, then) for process, then in begun.items())

    def _is_gone(self, who: str, pid: int, begun: str) -> bool:
        """Whether a process is no more: one of this machine is asked; of another's, long silence tells."""
        if who != _who():
            return self.clock() - datetime.fromisoformat(begun).timestamp() > SILENT_S
        return pid == os.getpid() or not _alive(pid)  # a container's processes have the same numbers again and again

    def _while_suspect(self, event: str, model: str, number: int, **more: Any) -> None:
        """Record what a process does with a version that none is known to have lived with."""
        if not self._has_lived(model, number):
            with self.store.locked():
                self._record(event, model, number, **more)

    def _has_lived(self, model: str, number: int) -> bool:
        return any(record["event"] == "lived" for record in self._of(model, number))

    def _of(self, model: str, number: int) -> list[Record]:
        return [record for record in self._told(model) if record["version"] == number]

    def quarantine(self, model: str, number: int, why: str) -> dict[str, int | None]:
        """No alias may name this version any more; those that do go back to the last good one they named.

        Returns where each of them went; None for one that has nowhere to go and stays, for a bad world may beat none.
        Replicas may all ask for the same: what is quarantined already stays so, and nothing moves twice.
        """
        with self.store.locked():
            if not self.version(model, number).quarantined:
                self._record("quarantine", model, number, why=why)
            moved = {alias: self.before(model, alias) for alias, now in self.aliases(model).items() if now == number}
            for alias, good in moved.items():
                if good is not None:
                    self._move(model, alias, good, f"back from {number}: {why}")
        return moved

    def before(self, model: str, alias: str) -> int | None:
        """The last version that `alias` named before its present one, and that is not quarantined; None where there is none."""
        return next(iter(self.past(model, alias)), None)

    def past(self, model: str, alias: str) -> list[int]:
        """The versions that `alias` named before its present one, and that are not quarantined, each once, the last one first."""
        records = self._told(model)
        good = {version.number for version in self._versions(model, records) if not version.quarantined}
        now = self.aliases(model).get(alias)
        named = [record["version"] for record in records if record["event"] == "alias" and record["alias"] == alias]
        if now in named:  # what is logged after it was never done
            named = named[: len(named) - named[::-1].index(now)]
        return [number for number in dict.fromkeys(reversed(named)) if number in good and number != now]

    def _move(self, model: str, alias: str, number: int, why: str) -> None:
        self._record("alias", model, number, alias=alias, before=self.aliases(model).get(alias), why=why)
        self.store.set_alias(model, alias, number)

    def _record(self, event: str, model: str, version: int, **more: Any) -> None:
        now = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")
        self.store.append({"time": now, "who": _who(), "event": event, "model": model, "version": version, **more})


def _checked_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"{what} {name!r}: use small letters, digits, dots and dashes, at most 63")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
