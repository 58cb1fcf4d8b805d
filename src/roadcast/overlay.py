"""Values laid over a dataclass, each checked against its field's type. Standard library only."""

import dataclasses
import difflib
import types
import typing
from typing import Any

from roadcast.errors import UserError


def first_difference(begun: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str | None:
    """The first setting, by name, in which two configurations as dictionaries differ: its dotted name and both values."""
    for key in sorted(begun.keys() | now.keys()):
        was, is_ = begun.get(key), now.get(key)
        if isinstance(was, dict) and isinstance(is_, dict):
            if found := first_difference(was, is_, f"{prefix}{key}."):
                return found
        elif was != is_:
            return f"{prefix}{key} = {was!r}, now {is_!r}"
    return None


def overlay(config: Any, values: dict[str, Any], where: str, prefix: str = "") -> Any:
    """A copy of dataclass `config` with `values` laid over it, each checked against the field's type."""
    hints = typing.get_type_hints(type(config))
    changes = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(hints)}"
            raise UserError(f"{where}: unknown key {prefix}{key}; {hint}")
        changes[key] = _convert(hints[key], getattr(config, key), value, where, prefix + key)
    return dataclasses.replace(config, **changes)


def _convert(hint: Any, current: Any, value: Any, where: str, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return overlay(current, value, where, name + ".")
    if origin is dict and isinstance(value, dict):
        of = arguments[1]
        fresh = of() if isinstance(of, type) and dataclasses.is_dataclass(of) else None
        current = current or {}
        return current | {k: _convert(of, current.get(k, fresh), v, where, f"{name}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        if len(arguments) == len(value):
            return tuple(
                _convert(a, None, v, where, f"{name}[{i}]")
                for i, (a, v) in enumerate(zip(arguments, value, strict=True))
            )
    allowed = arguments if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) in allowed:
        return value
    raise UserError(f"{where}: {name} = {value!r} is not of type {getattr(hint, '__name__', hint)}")
