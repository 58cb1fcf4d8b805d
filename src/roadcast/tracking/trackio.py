"""Training figures for trackio."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import trackio  # pyright: ignore[reportMissingImports]  # its pillow is older than the one pinned for development

from roadcast.tracking.names import PROJECT, run_id, run_name
from roadcast.training.films import write_mp4


class TrackioLog:
    """A `roadcast.training.metrics.Logger` over one trackio run a stage, kept on this machine (TRACKIO_DIR); `trackio show` shows it.

    A resumed stage goes on in the same run.
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        name = f"{run_name(folder).replace('/', '-')}-{run_id(folder)[:6]}"
        self._run = trackio.init(
            PROJECT, name=name, config=config, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({name: text}, step=step)

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            write_mp4(path, frames_FHWC, fps)
            self._run.log({name: trackio.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        self._run.finish()
