"""`roadcast models rollback`."""

from roadcast.cli.console import say
from roadcast.errors import UserError


def rollback(alias: str, /, why: str, registry: str = "registry") -> None:
    """Let an alias name the version before, and quarantine the present one, which no alias may name any more.

    Examples:
      roadcast models rollback mine@production --why "drifts in rain"

    Servers that watch their versions do the same by themselves. What is mended is pushed as a version of its own.

    Args:
        alias: MODEL@ALIAS.
        why: What is wrong with the present version.
        registry: A folder, or mlflow:URI.
    """
    from roadcast.serving.registry import Registry

    opened = Registry.open(registry)
    model, number = opened.resolve(alias)
    _, mark, name = alias.partition("@")
    if not mark:
        raise UserError(f"{alias}: names a version; give the alias that is to go back, such as {model}@production")
    if opened.before(model, name) is None:
        raise UserError(f"{alias} has named no good version before {model}/{number}; promote another one")
    for moved, good in opened.quarantine(model, number, why).items():
        say(f"{model}@{moved} is {model}/{good}")
    say(f"{model}/{number} is quarantined")
