"""Training figures for TensorBoard, where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roadcast.training.films import contact_strip

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def installed() -> bool:
    """Whether TensorBoard is there to be written for."""
    return find_spec("tensorboard") is not None


class TensorBoardLog:
    """A `roadcast.training.metrics.Logger` that writes event files to `folder`, one scalar a name.

    A resumed stage opens a new file, in which its first step purges what a killed run had logged from that step on. Films come as
    strips of stills: TensorBoard itself makes none without moviepy. A stage that logs nothing leaves no file.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._writer: SummaryWriter | None = None

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._open(step).add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        self._open(step).add_text(name, text, step)

    def video(self, step: int, name: str, frames_FHWC: np.ndarray, fps: float) -> None:
        self._open(step).add_image(name, contact_strip(frames_FHWC), step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file, if there is one."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, step: int) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=step)
        return self._writer
