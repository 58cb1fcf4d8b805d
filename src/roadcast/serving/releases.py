"""Where a server's versions of one model come from: one for good, or those that a registry's aliases name."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from roadcast.data.actions import ACTIONS
from roadcast.errors import UserError
from roadcast.serving.backend import Backend
from roadcast.serving.examine import RefusedError
from roadcast.serving.foreign import Known
from roadcast.serving.gate import Gate
from roadcast.serving.health import picture_fault
from roadcast.serving.manifest import Manifest, read_manifest
from roadcast.serving.registry import Registry

DEATHS = 3
"""Processes that a version may end while it is loaded, or in its first minute."""
TRIED = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The versions that are to be served.

    line    for new sessions: the first that is good; the next good one is what to go back to
    canary  for `share` of the new sessions
    """

    line: tuple[int, ...]
    canary: int | None = None
    share: float = 0.0


class Releases(Protocol):
    """The versions of one model. Any call may take long, and none is made on an event loop."""

    def wanted(self) -> Wanted:
        """What is to be served now; `UserError` where nothing is."""
        ...

    def deaths(self, version: int) -> int:
        """How many processes it has ended."""
        ...

    def admit(self, version: int) -> None:
        """Raise `RefusedError` for a version that may have no traffic; may take minutes."""
        ...

    def open(self, version: int) -> Backend:
        """The version, loaded; called on the thread it will live on, and raises what loading raises."""
        ...

    def known(self, version: int) -> Known:
        """What its steps are like (serving/foreign.py)."""
        ...

    def lived(self, version: int) -> None:
        """It has been loaded for a minute, and the process is still there."""
        ...

    def closed(self, version: int) -> None:
        """It is loaded no more, or was not, and the process is still there."""
        ...

    def refuse(self, version: int, why: str) -> None:
        """It could not be loaded, and has no traffic."""
        ...

    def quarantine(self, version: int, why: str) -> None:
        """It has proved bad under traffic, or ends processes."""
        ...


class One:
    """One version, 0, that a factory makes. There is nothing to go back to and nobody to tell."""

    def __init__(self, factory: Callable[[], Backend]):
        self._factory = factory

    def wanted(self) -> Wanted:
        return Wanted((0,))

    def deaths(self, version: int) -> int:
        return 0

    def admit(self, version: int) -> None:
        """It is all there is."""

    def open(self, version: int) -> Backend:
        return self._factory()

    def known(self, version: int) -> Known:
        return {}

    def lived(self, version: int) -> None: ...

    def closed(self, version: int) -> None: ...

    def refuse(self, version: int, why: str) -> None: ...

    def quarantine(self, version: int, why: str) -> None: ...


Opener = Callable[[Path, Manifest, str], Backend]
"""The backend over a version's folder, opened as its manifest says, by this name."""


class FromRegistry:
    """The versions that aliases of a registry name: as the aliases move, so do `wanted`'s.

    reference  "mine@production", or "mine/3" for one version for good
    canary     the alias, of the same model, of what `share` of the new sessions are given; there need be none yet
    gate       what a version that it has not let through on such a build yet must pass before it is loaded
    Raises `UserError` for a reference that names nothing.
    """

    def __init__(
        self, registry: Registry, reference: str, opener: Opener, gate: Gate, canary: str = "", share: float = 0.0
    ):
        self.registry, self.opener, self.gate, self.share = registry, opener, gate, share
        self.model, self._number = registry.resolve(reference)
        self.alias = reference.partition("@")[2]
        of, _, self.canary = canary.partition("@")
        if canary and not (self.alias and of == self.model and self.canary):
            raise UserError(f"canary {canary!r}: give an alias beside {reference}, such as {self.model}@candidate")

    def wanted(self) -> Wanted:
        if not self.alias:
            return Wanted((self._number,))
        aliases = self.registry.aliases(self.model)
        if self.alias not in aliases:
            raise UserError(f"{self.model}@{self.alias}: there is no such alias any more; promote a version to it")
        bad = {version.number for version in self.registry.versions(self.model) if version.quarantined}
        stable, canary = aliases[self.alias], aliases.get(self.canary)
        line = [stable, *self.registry.past(self.model, self.alias)]
        if stable in bad and line[1:]:  # an alias that was moved past the registry
            del line[0]
        if canary in bad or canary == stable:
            canary = None
        return Wanted(tuple(line), canary, self.share if canary else 0.0)

    def deaths(self, version: int) -> int:
        return self.registry.deaths(self.model, version)

    def admit(self, version: int) -> None:
        """By what the log knows, or by the gate, whose word is put there."""
        if (deaths := self.deaths(version)) >= DEATHS:
            why = f"ended {deaths} processes that loaded it, or had done so for less than a minute"
            self.quarantine(version, why)
            raise RefusedError(why)
        if not self.registry.has_passed(self.model, version, self.gate.build):
            log.info("%s/%d is examined, for the log knows of no gate that let it through here", self.model, version)
            report = self.gate.examine(self.registry, self.model, version)
            if not report.passed:
                raise RefusedError(report.refusal)
            self._tell(self.registry.passed, version, self.gate.build)

    def open(self, version: int) -> Backend:
        """Every byte of it is as it was pushed; and it is driven a few steps, as it will be."""
        folder = self.registry.fetch(self.model, version)
        self._tell(self.registry.loading, version)
        backend = self.opener(folder, read_manifest(folder), str(version))
        check_drives(backend)
        return backend

    def known(self, version: int) -> Known:
        return read_manifest(self.registry.store.fetch(self.model, version)).known

    def lived(self, version: int) -> None:
        self._tell(self.registry.lived, version)

    def closed(self, version: int) -> None:
        self._tell(self.registry.unloaded, version)

    def refuse(self, version: int, why: str) -> None:
        self._tell(self.registry.refuse, version, self.alias, why)

    def quarantine(self, version: int, why: str) -> None:
        self._tell(self.registry.quarantine, version, why)

    def _tell(self, tell: Callable[..., object], version: int, *what: object) -> None:
        """Tell the registry; one that cannot be reached, or only be read, keeps nobody from driving."""
        try:
            tell(self.model, version, *what)
        except Exception as error:
            log.warning("%s/%d: the registry could not be told (%r)", self.model, version, error)


def check_drives(backend: Backend) -> None:
    """Raise `RefusedError` unless the first scene can be driven a few steps, and looks like it."""
    command = {name: ACTIONS[name].scale for name in ("throttle", "speed") if name in backend.actions}
    before = backend.begin(0, 0, 0)
    faults = []
    for _ in range(TRIED):
        frame = backend.step({0: command})[0].frame_HWC
        faults.append(picture_fault(frame, before, command))
        before = frame
    backend.free(0)
    if all(faults):
        raise RefusedError(f"once it was loaded, frames were {faults[-1]}")
