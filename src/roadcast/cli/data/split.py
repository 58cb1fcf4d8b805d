"""`roadcast data split`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roadcast.cli.console import say
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.data.reel.store import Reel


def split(
    reel: Path,
    /,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    by: Literal["recording", "place"] = "recording",
    radius: float = 50.0,
    keep_copies_together: bool = False,
) -> None:
    """Divide the recordings of a reel into train, val and test anew; no picture is touched.

    Examples:
      roadcast data split reels/mine
      roadcast data split reels/mine --fractions 0.7 0.15 0.15 --keep-copies-together
      roadcast data split reels/mine --by place --radius 100

    Pieces of one drive stay together where there are three drives or more.

    Args:
        reel: Folder of the reel.
        fractions: Shares of train, val and test.
        by: With place, no two recordings of different splits come near each other; that takes gps, or ego_pose of one map.
        radius: How near is near, in m.
        keep_copies_together: Look at every picture, and put recordings that share some into one split.
    """
    from roadcast.data.reel.edit import resplit
    from roadcast.data.reel.layout import recording_of
    from roadcast.data.reel.store import Reel
    from roadcast.data.splits.split import SPLITS, assign_splits

    if min(fractions) < 0 or sum(fractions) <= 0:
        raise UserError(
            f"--fractions {' '.join(map(str, fractions))}: give three shares of 0 or more, such as 0.8 0.1 0.1"
        )
    opened = Reel(reel)
    names = [video.name for video in opened.videos]
    drives = {name: recording_of(name) for name in names}
    if len(set(drives.values())) < len(SPLITS):
        drives = {name: name for name in names}
    groups = _groups(opened, drives, radius if by == "place" else None, keep_copies_together)
    of_drive = assign_splits(drives.values(), fractions, groups)
    resplit(reel, {name: of_drive[drive] for name, drive in drives.items()})
    tell_splits(reel)


def _groups(reel: "Reel", drives: dict[str, str], radius: float | None, copies: bool) -> dict[str, str] | None:
    """By drive, the group that must stay in one split; None where every drive may go where it likes."""
    import numpy as np

    from roadcast.data.splits.leakage import find_copies
    from roadcast.data.splits.split import SPLITS, geographic_groups, joined, tracks_of

    if radius is None and not copies:
        return None
    links: list[tuple[str, str]] = []
    if radius is not None:
        pieces: dict[str, dict[str, list[np.ndarray]]] = {}
        for video in reel.videos:
            for name in {"gps", "ego_pose"} & reel.signals.keys():
                rows = reel.signals[name][video.first : video.first + video.frames]
                pieces.setdefault(drives[video.name], {}).setdefault(name, []).append(rows)
        signals = {
            drive: {n: np.concatenate(rows) for n, rows in pieces.get(drive, {}).items()}
            for drive in set(drives.values())
        }
        links += geographic_groups(tracks_of(signals), radius).items()
    if copies:
        numbers = {drive: n for n, drive in enumerate(sorted(set(drives.values())))}
        found = find_copies(reel, [numbers[drives[video.name]] for video in reel.videos]).links(reel)
        links += [(drives[a], drives[b]) for a, b in found]
        say(f"{found.total()} copies of pictures of other recordings")
    groups = joined(drives.values(), links)
    if (have := len(set(groups.values()))) < len(SPLITS):
        remedy = (
            "give a smaller --radius, or split by recording" if radius is not None else "leave copies out at the source"
        )
        raise UserError(f"{reel.path}: the recordings form only {have} groups that must stay together; {remedy}")
    return groups


def tell_splits(reel: Path) -> None:
    """Print how the recordings are divided."""
    from roadcast.data.reel.store import Reel
    from roadcast.data.splits.split import SPLITS

    opened = Reel(reel)
    recordings, frames = Counter(video.split for video in opened.videos), Counter()
    for video in opened.videos:
        frames[video.split] += video.frames
    for name in SPLITS:
        say(f"{name:<5}  {recordings[name]} recordings, {frames[name]} frames, {frames[name] / opened.frames:.0%}")
