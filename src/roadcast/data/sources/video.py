"""Video files, each with a .csv or .jsonl of controls beside it if there is one."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from roadcast.data.intake.decode import read_video
from roadcast.data.intake.guard import faults_told
from roadcast.data.sources.base import Recording, unreadable
from roadcast.data.sources.signal_files import SUFFIXES, read_signals
from roadcast.errors import UserError


class VideoSource:
    """One recording a file; controls come from the file of the same stem, or from `signals` for a single video.

    The times of controls are on the video's clock, which for most files is 0 at the first frame.
    """

    cameras: tuple[str, ...] = ("front",)

    def __init__(self, files: list[Path], root: Path, rate: float | None = None, signals: str | Path | None = None):
        if signals is not None and len(files) > 1:
            raise UserError(
                f"signals = {signals}: one file cannot serve {len(files)} videos; put a .csv of the same stem beside each"
            )
        self.files, self.root, self.rate, self.signals = files, root, rate, signals

    def recordings(self) -> Iterator[Recording]:
        stems = Counter(path.relative_to(self.root).with_suffix("") for path in self.files)
        for path in self.files:
            inside = path.relative_to(self.root)
            name = (
                (inside.with_suffix("") if stems[inside.with_suffix("")] == 1 else inside).as_posix().replace("/", "_")
            )
            beside = self.signals or next((p for s in SUFFIXES if (p := path.with_suffix(s)).is_file()), None)
            try:
                with faults_told(beside or path):
                    signals = read_signals(Path(beside)) if beside else {}
            except UserError as error:
                yield unreadable(name, inside.as_posix(), error)
                continue
            yield Recording(name, inside.as_posix(), lambda path=path: read_video(path, self.rate), signals)
