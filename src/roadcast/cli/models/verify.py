"""`roadcast models verify`."""

from typing import TYPE_CHECKING

from roadcast.cli.console import show_facts
from roadcast.cli.device import checked
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.serving.gate import Report


def verify(version: str, /, registry: str = "registry", device: str = "cpu", compiled: bool = False) -> None:
    """Put a version through the gate, and move nothing.

    Examples:
      roadcast models verify mine/3
      roadcast models verify mine@production --device cuda --compiled

    Every byte is as it was pushed, every weight a number, it loads, its frames are pictures and move, the golden rollouts come out
    as they did, left and right turn the picture, a step is made in time. Exit code 2 if one of it is not so.

    Args:
        version: MODEL/NUMBER or MODEL@ALIAS.
        registry: A folder, or mlflow:URI.
        device: Where it is to be served: cpu, cuda, cuda:1.
        compiled: Whether it is to be served compiled.
    """
    from roadcast.serving.gate import Gate
    from roadcast.serving.registry import Registry

    opened = Registry.open(registry)
    model, number = opened.resolve(version)
    tell(Gate(device=checked(device), compiled=compiled).examine(opened, model, number), f"{model}/{number}")


def tell(report: "Report", version: str) -> None:
    """Print the gate's checks; a `UserError` for a version that failed one."""
    show_facts({check.name: f"{check.seconds:6.2f} s  {check.told}" for check in report.checks})
    if not report.passed:
        raise UserError(f"{version} is refused: {report.refusal}")
