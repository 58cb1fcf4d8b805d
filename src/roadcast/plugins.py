"""What other packages add to roadcast, found by name among their entry points and imported only when it is asked for."""

from importlib.metadata import entry_points
from typing import TypeVar

from roadcast.errors import UserError

Kind = TypeVar("Kind")

GROUPS = {
    "objective": "roadcast.objectives",
    "loss": "roadcast.losses",
    "hook": "roadcast.hooks",
    "tracker": "roadcast.trackers",
}
"""By what a plug-in is: the group of entry points it is found in."""


def look_up(what: str, name: str, known: dict[str, Kind]) -> Kind:
    """`known[name]`; where it is not there yet, after importing the plug-in that offers it.

    what   one of GROUPS
    known  all of that sort that has been registered; importing a plug-in registers more, and never stands in for what is there

    Raises `UserError` for a name that nobody has, that two packages offer, or whose plug-in cannot be imported.
    """
    if name in known:
        return known[name]
    points = entry_points(group=GROUPS[what])
    offered = {point.value: point for point in points if point.name == name}
    if not offered:
        names = sorted({*known, *points.names})
        remedy = f"choose one of {', '.join(names)}" if names else "and no installed package offers any"
        raise UserError(f"{what} {name!r} is unknown; {remedy}")
    owner = " and ".join(sorted({point.dist.name for point in offered.values() if point.dist}))
    if len(offered) > 1:
        raise UserError(f"{what} {name!r} is offered by {owner}; pip uninstall all but one")
    (point,) = offered.values()
    try:
        point.load()
    except Exception as error:
        raise UserError(
            f"{what} {name!r} is offered by the package {owner}, which cannot be imported ({type(error).__name__}: {error}); "
            f"mend it, or pip uninstall {owner}"
        ) from error
    if name not in known:
        raise UserError(
            f"{what} {name!r} is offered by the package {owner}, whose {point.value} registers nothing of that name; "
            "name entry point and decorator alike"
        )
    return known[name]
