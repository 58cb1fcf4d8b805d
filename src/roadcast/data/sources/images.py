"""A folder of images as one recording, in natural order (2.png before 10.png)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roadcast.data.intake.pictures import read_picture
from roadcast.data.sources.base import IMAGE_SUFFIXES, Recording, Signal
from roadcast.data.sources.signal_files import SUFFIXES, read_image_times, read_signals
from roadcast.errors import UserError


class ImageSource:
    """Times come from the column `_file` of the signals file (`signals`, or signals.csv / .jsonl in the folder), else from `rate`.

    An image that has no row there is left out; an image that has a row but is missing or unreadable cuts the recording.
    """

    cameras: tuple[str, ...] = ("front",)

    def __init__(self, folder: Path, rate: float | None = None, signals: str | Path | None = None, fps: float = 20.0):
        beside = next((p for s in SUFFIXES if (p := folder / f"signals{s}").is_file()), None)
        self.folder, self.rate, self.fps = folder, rate, fps
        self.signals = Path(signals) if signals else beside

    def recordings(self) -> Iterator[Recording]:
        files = {p.name: p for p in self.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
        times = read_image_times(self.signals) if self.signals else None
        notes: list[str] = []
        if times is None:
            rate = self.rate or self.fps
            times = {name: round(n / rate * 1e9) for n, name in enumerate(sorted(files, key=natural))}
            if self.rate is None:
                notes.append(f"{self.folder.name}: images were taken to be {rate:g} a second; state another with rate")
        elif self.rate is not None:
            raise UserError(f"rate = {self.rate}: {self.signals} gives every image a time already; leave rate out")
        elif not times.keys() & files.keys():
            raise UserError(f"{self.signals}: no _file of it is in {self.folder}; give the names of the images there")
        elif unnamed := len(files.keys() - times.keys()):
            notes.append(
                f"{self.folder.name}: {unnamed} of {len(files)} images have no row in {self.signals} and were left out"
            )
        moments = sorted((t, natural(name), name) for name, t in times.items())

        def frames() -> Iterator[tuple[int, np.ndarray | None]]:
            for t_ns, _, name in moments:
                yield t_ns, read_picture(files[name]) if name in files else None

        name = self.folder.resolve().name
        yield Recording(name, name, frames, self._controls(), notes=tuple(notes))

    def _controls(self) -> dict[str, Signal]:
        return read_signals(self.signals) if self.signals else {}


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key by which numbers inside a name count as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.findall(r"\d+|\D+", name)] + [
        (2, 0, name)
    ]
