"""The log of a run: figures and events as JSON lines, films as files, and the same to every tracker."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from roadcast.files import write_file
from roadcast.training.films import save_film


class Logger(Protocol):
    """Where a run's figures go. JSON lines always; trackers beyond the core implement this in `roadcast.tracking`.

    log    named scalars of one step
    text   a sentence about one step, such as what was done about an anomaly
    video  frames_FHWC uint8 RGB [F, H, W, 3], shown at `fps` frames a second
    """

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def text(self, step: int, name: str, text: str) -> None: ...

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None: ...

    def close(self) -> None: ...


class JsonLog:
    """Figures to log.jsonl, events to events.jsonl beside it, films to samples/.

    On opening, rows of steps not yet reached (a killed run's) are taken out: they come again. Events stay, each with its time,
    for they did happen.
    """

    def __init__(self, path: Path, step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_log(path) if row["step"] <= step]
        write_file(path, lambda beside: beside.write_text("".join(json.dumps(row) + "\n" for row in rows)))
        self.folder = path.parent
        self.file = open(path, "a")

    def log(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()

    def text(self, step: int, name: str, text: str) -> None:
        write_event(self.folder, step, name, text)

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        """Write samples/NAME-STEP.mp4, and a strip of its frames as .png."""
        save_film(self.folder / "samples" / f"{name}-{step:08d}.mp4", frames_FHWC, fps)

    def close(self) -> None:
        self.file.close()


class Log:
    """A stage's own log (`folder`/log.jsonl and what `JsonLog` has beside it), and its trackers, who are told the same.

    A tracker that raises, for instance because the network is down, is let go with one line to `report`: training goes on. Of several
    processes one speaks; the logs of the others keep silent.
    """

    def __init__(self, folder: Path, trackers: Callable[[], list[Logger]], report: Callable[[str], None], speaks: bool):
        self.folder, self.build_trackers, self.report, self.speaks = folder, trackers, report, speaks
        self.loggers: list[Logger] = []

    def begin(self, step: int) -> None:
        """Open everything from `step` on; what was logged of later steps comes again."""
        self.close()
        if self.speaks:
            self.loggers = [JsonLog(self.folder / "log.jsonl", step), *self.build_trackers()]

    def log(self, step: int, values: dict[str, float]) -> None:
        self._tell(lambda logger: logger.log(step, values))

    def event(self, step: int, kind: str, text: str, **more: Any) -> None:
        """What happened at `step`: to the terminal, to events.jsonl with the figures in `more`, and to the trackers."""
        if self.speaks:
            write_event(self.folder, step, kind, text, **more)
            self.report(text)
        self._tell(lambda logger: isinstance(logger, JsonLog) or logger.text(step, kind, text))

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        self._tell(lambda logger: logger.video(step, name, frames_FHWC, fps))

    def close(self) -> None:
        self._tell(lambda logger: logger.close())
        self.loggers = []

    def _tell(self, call: Callable[[Logger], object]) -> None:
        for logger in list(self.loggers):
            try:
                call(logger)
            except Exception as error:
                if isinstance(logger, JsonLog):
                    raise
                self.loggers.remove(logger)
                self.report(f"{type(logger).__name__} is let go, training goes on: {type(error).__name__}: {error}")


def write_event(folder: Path, step: int, kind: str, text: str, **more: Any) -> None:
    """Append what happened at `step` to `folder`/events.jsonl, with the time of day in UTC; `more` is JSON."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "events.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "kind": kind, "time": now, "text": text, **more}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a log, or none when there is no such file; a last row cut short by a crash is left out."""
    rows = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
