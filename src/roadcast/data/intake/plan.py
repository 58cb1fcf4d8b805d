"""How a source is to be taken into a reel, in plain values that can be sent to another process."""

from dataclasses import dataclass, field
from typing import Any

from roadcast.data.intake.limits import Limits


@dataclass(frozen=True)
class Plan:
    """What a process needs to take any recording of a source; `ingest` says what the settings mean.

    source    path or address, and `options` that `open_source` takes with it
    cameras   those of the source that the reel has, in the reel's order
    decoder   of videos, None where the source has none
    sensors   those of the recordings to take, None for all
    partial   the folder in which the reel is put together
    threads   that encode
    """

    source: str
    options: dict[str, Any]
    cameras: tuple[str, ...]
    fps: float
    height: int
    width: int
    quality: int
    crop: str
    split: str | None
    max_gap: float | None
    min_seconds: float
    invert: tuple[str, ...]
    decoder: str | None
    sensors: tuple[str, ...] | None
    partial: str
    threads: int = 1
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Plan":
        """The plan whose `dataclasses.asdict`, through JSON, is `values`."""
        names = ("cameras", "invert", "sensors")
        lists = {name: tuple(values[name]) for name in names if values[name] is not None}
        return cls(**(values | lists | {"limits": Limits(**values["limits"])}))
