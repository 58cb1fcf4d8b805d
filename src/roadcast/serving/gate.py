"""The gate before traffic: no alias comes to name a version that has not just shown that it can be driven."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from roadcast.errors import UserError
from roadcast.serving.examine import WORLD_OPENER, Check, Limits, Order
from roadcast.serving.manifest import build
from roadcast.serving.registry import Registry


@dataclass(frozen=True)
class Report:
    """What the gate found: the checks in order, of which only the last can have failed."""

    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether the version may have traffic."""
        return self.checks[-1].passed

    @property
    def refusal(self) -> str:
        """The check that failed, and why."""
        return f"{self.checks[-1].name}: {self.checks[-1].told}"


@dataclass(frozen=True)
class Gate:
    """How versions are examined: as they will be served, or what is measured says nothing.

    opener  "package.module:function" of a `serving.pack.Opener`
    """

    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"
    compiled: bool = False
    opener: str = WORLD_OPENER

    @property
    def build(self) -> dict[str, str]:
        """Where its word holds."""
        return build(self.device, self.compiled)

    def examine(self, registry: Registry, model: str, version: int) -> Report:
        """Is every byte as it was pushed, and can it be driven? `UserError` where there is no such version."""
        registry.version(model, version)
        begun = time.perf_counter()
        try:
            folder = registry.fetch(model, version)
        except UserError as error:
            return Report([Check("files", False, str(error), time.perf_counter() - begun)])
        whole = Check("files", True, "every byte is as it was pushed", time.perf_counter() - begun)
        return Report([whole, *self._driven(folder)])

    def admit(self, registry: Registry, model: str, version: int, alias: str, why: str = "") -> Report:
        """Let `alias` name the version if it passes; if not, record that it was refused, and let the alias be.

        Raises `UserError` where there is no such version or it is quarantined.
        """
        registry.check_good(model, version)
        report = self.examine(registry, model, version)
        if report.passed:
            registry.passed(model, version, self.build)
            registry.promote(model, version, alias, why)
        else:
            registry.refuse(model, version, alias, report.refusal)
        return report

    def _driven(self, folder: Path) -> list[Check]:
        """The checks of `serving.examine`, made in a process that is killed when its time is over."""
        order = Order(str(folder), self.limits, self.device, self.compiled, self.opener)
        path = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "roadcast.serving.examine", json.dumps(asdict(order))],
                env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
            try:
                said, _ = process.communicate(timeout=self.limits.seconds)
                ending = _ending(process.returncode, errors)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said, _ = process.communicate()
                ending = f"was stopped, for the examination took more than {self.limits.seconds:g} s"
        return _checks(said, ending)


def _checks(said: bytes, ending: str) -> list[Check]:
    """What the process told in whole lines; the check that it had begun when it ended has failed by that."""
    checks, begun = [], "start"
    for line in said.decode().split("\n")[:-1]:
        message = json.loads(line)
        if "begun" in message:
            begun = message["begun"]
        else:
            checks.append(Check(**message))
    if not checks or (checks[-1].passed and (ending or checks[-1].name != begun)):
        checks.append(Check(begun, False, ending or "ended without a word", 0.0))
    return checks


def _ending(code: int, errors: IO[bytes]) -> str:
    """How a process ended badly, with its last words; "" if it did not."""
    if code == 0:
        return ""
    errors.seek(0)
    words = errors.read().decode(errors="replace").strip().splitlines()
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return how + (f": {words[-1]}" if words else "")
