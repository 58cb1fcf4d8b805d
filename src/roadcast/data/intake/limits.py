"""How much one recording of a source may ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields

from roadcast.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What a recording may take before it is given up; a `UserError` for a limit that is not positive.

    Args:
        seconds: Without a new frame; ten times as many where there are none to come, as when a source is opened.
        memory_gib: Private memory of the process that takes it, in GiB.
        frames: Of one recording.
        pixels: Of one picture (67108864 is 8192 x 8192), held against its header before it is decoded.
    """

    seconds: float = 60.0
    memory_gib: float = 4.0
    frames: int = 10_000_000
    pixels: int = 2**26

    def __post_init__(self) -> None:
        for field in fields(self):
            if not (value := getattr(self, field.name)) > 0:
                raise UserError(f"limits.{field.name} = {value}; give a positive number")


DEFAULT = Limits()
_limits: ContextVar[Limits] = ContextVar("limits", default=DEFAULT)


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Pictures are held against `limits` inside the block."""
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


def limits_now() -> Limits:
    """Those of the innermost block of `limited`."""
    return _limits.get()


def check_size(what: object, height: int, width: int) -> None:
    """A `UserError` if a picture of `what` has more pixels than the limit."""
    if height * width > (most := limits_now().pixels):
        raise UserError(
            f"{what}: pictures of {height}x{width} (height x width) have more than {most} pixels; make them smaller, or raise limits.pixels"
        )
