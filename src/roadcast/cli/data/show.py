"""`roadcast data show`."""

from pathlib import Path
from typing import TYPE_CHECKING

from roadcast.cli.console import duration, progress, say
from roadcast.cli.data.pictures import check_ending, write_picture
from roadcast.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from roadcast.cli.console import Show
    from roadcast.data.draw.overlay import Overlay
    from roadcast.data.reel.store import Reel


def show(
    reel: Path,
    /,
    *,
    out: Path,
    recording: str | None = None,
    at: float | None = None,
    seconds: float | None = None,
) -> None:
    """Show a reel: a contact sheet of its recordings, or a video of one with everything that is known of it drawn in.

    Examples:
      roadcast data show reels/mine --out mine.jpg                     contact sheet of all recordings
      roadcast data show reels/mine --out mine.mp4                     the first recording as a video
      roadcast data show reels/mine --recording a-0002 --at 60 --seconds 20 --out a.mp4
      roadcast data show reels/mine --recording a-0002 --at 12.5 --out a.png     one moment, large

    A video, or a single moment, has the pictures of all cameras with LiDAR and radar points coloured by depth (red near, blue
    far) and 3D boxes in them, the ground from above with points, boxes and the driven path, radar pictures, and the controls.
    What a recording does not have is left out.

    Args:
        reel: Folder of the reel.
        out: The file to write: .png or .jpg for a sheet or a moment, .mp4 for a video.
        recording: Name of the recording; of a sheet, all when not given, of a video, the first.
        at: Where to begin, in seconds from the recording's first frame; a .png or .jpg shows this one moment.
        seconds: Length of the video; to the recording's end when not given.
    """
    check_ending(out, (".png", ".jpg", ".mp4"))
    from roadcast.data.reel.store import Reel

    opened = Reel(reel)
    if out.suffix.lower() == ".mp4":
        _show_video(opened, out, recording, at or 0.0, seconds)
        return
    if seconds is not None:
        raise UserError(f"--seconds {seconds:g}: is for a video; give a name that ends in .mp4, or leave it out")
    if at is not None:
        number, moment = _moment(opened, recording, at)
        from roadcast.data.draw.overlay import Overlay

        write_picture(out, Overlay(opened, number).draw(moment))
        say(f"{out}: {opened.videos[number].name} at {at:g} s")
        return
    from roadcast.data.draw.contact_sheet import draw_contact_sheet, draw_recording_sheet

    if recording is None:
        write_picture(out, draw_contact_sheet(opened))
        say(f"{out}: a contact sheet of {reel}")
    else:
        write_picture(out, draw_recording_sheet(opened, opened.videos[_number(opened, recording)]))
        say(f"{out}: a contact sheet of {recording}")


def _show_video(reel: "Reel", out: Path, recording: str | None, at: float, seconds: float | None) -> None:
    from roadcast.cli.mp4 import write_video
    from roadcast.data.draw.overlay import Overlay

    number, first = _moment(reel, recording, at)
    if seconds is not None and not seconds > 0:
        raise UserError(f"--seconds {seconds:g}: give a positive number")
    left = reel.videos[number].frames - first
    count = left if seconds is None else min(left, max(1, round(seconds * reel.fps)))
    with progress() as show_progress:
        write_video(out, _drawn(Overlay(reel, number), first, count, show_progress), reel.fps)
    say(f"{out}: {count} frames, {duration(count / reel.fps)} of {reel.videos[number].name}")


def _drawn(overlay: "Overlay", first: int, count: int, show_progress: "Show") -> "Iterator[np.ndarray]":
    for done, image in enumerate(overlay.frames(first, count), start=1):
        yield image
        show_progress("frames", done, count)


def _moment(reel: "Reel", recording: str | None, at: float) -> tuple[int, int]:
    """The number of the recording in the reel, and of its moment at `at` seconds."""
    number = 0 if recording is None else _number(reel, recording)
    video = reel.videos[number]
    moment = round(at * reel.fps)
    if not 0 <= moment < video.frames:
        raise UserError(f"--at {at:g}: {video.name} goes from 0 to {(video.frames - 1) / reel.fps:g} s")
    return number, moment


def _number(reel: "Reel", recording: str) -> int:
    names = [video.name for video in reel.videos]
    if recording not in names:
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise UserError(f"--recording {recording!r}: is not in {reel.path}; it has {some}")
    return names.index(recording)
