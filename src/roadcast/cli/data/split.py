"""`roadcast data split`."""

from collections import Counter
from pathlib import Path

from roadcast.cli.console import say
from roadcast.errors import UserError


def split(reel: Path, /, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> None:
    """Divide the recordings of a reel into train, val and test anew; no picture is touched.

    Examples:
      roadcast data split reels/mine
      roadcast data split reels/mine --fractions 0.7 0.15 0.15

    Pieces of one drive stay together where there are three drives or more.

    Args:
        reel: Folder of the reel.
        fractions: Shares of train, val and test.
    """
    from roadcast.data.edit import recording_of, resplit
    from roadcast.data.split import SPLITS, assign_splits
    from roadcast.data.store import Reel

    if min(fractions) < 0 or sum(fractions) <= 0:
        raise UserError(
            f"--fractions {' '.join(map(str, fractions))}: give three shares of 0 or more, such as 0.8 0.1 0.1"
        )
    names = [video.name for video in Reel(reel).videos]
    drives = {name: recording_of(name) for name in names}
    if len(set(drives.values())) < len(SPLITS):
        drives = {name: name for name in names}
    of_drive = assign_splits(drives.values(), fractions)
    resplit(reel, {name: of_drive[drive] for name, drive in drives.items()})
    tell_splits(reel)


def tell_splits(reel: Path) -> None:
    """Print how the recordings are divided."""
    from roadcast.data.split import SPLITS
    from roadcast.data.store import Reel

    opened = Reel(reel)
    recordings, frames = Counter(video.split for video in opened.videos), Counter()
    for video in opened.videos:
        frames[video.split] += video.frames
    for name in SPLITS:
        say(f"{name:<5}  {recordings[name]} recordings, {frames[name]} frames, {frames[name] / opened.frames:.0%}")
