"""`roadcast models promote`."""

from roadcast.cli.console import say
from roadcast.cli.device import checked
from roadcast.cli.models.verify import tell


def promote(
    version: str,
    /,
    alias: str = "production",
    why: str = "",
    registry: str = "registry",
    device: str = "cpu",
    compiled: bool = False,
) -> None:
    """Let an alias name a version, once the gate has let it through.

    Examples:
      roadcast models promote mine/3
      roadcast models promote mine/4 --alias canary --why "one pass a frame"

    The gate is that of `roadcast models verify`. Servers give new sessions what the alias names; live ones stay on their version. A
    version that is refused, and why, is in the log, and the alias stays.

    Args:
        version: MODEL/NUMBER or MODEL@ALIAS.
        alias: The name it is to have: production, canary, or one of your own.
        why: A word for the log.
        registry: A folder, or mlflow:URI.
        device: Where it is to be served: cpu, cuda, cuda:1.
        compiled: Whether it is to be served compiled.
    """
    from roadcast.serving.gate import Gate
    from roadcast.serving.registry import Registry

    opened = Registry.open(registry)
    model, number = opened.resolve(version)
    gate = Gate(device=checked(device), compiled=compiled)
    tell(gate.admit(opened, model, number, alias, why), f"{model}/{number}")
    say(f"{model}@{alias} is {model}/{number}")
