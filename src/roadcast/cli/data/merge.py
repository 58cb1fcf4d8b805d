"""`roadcast data merge`."""

from pathlib import Path

from roadcast.cli.console import duration, say


def merge(reels: tuple[Path, ...], /, *, out: Path) -> None:
    """Make one reel of several, of one rate, size, cameras, JPEG quality and sensors.

    Examples:
      roadcast data merge reels/monday reels/tuesday --out reels/both

    Recordings keep their splits; `roadcast data split` divides them anew. The pictures take no space twice where the
    file system knows hard links. The reels merged can be removed afterwards.

    Args:
        reels: Folders of the reels, in order.
        out: Folder of the new one.
    """
    from roadcast.data.reel.edit import merge as make_one

    made = make_one(reels, out)
    say(f"{out}: {len(made.videos)} recordings, {made.frames} frames, {duration(made.frames / made.fps)}")
    for warning in made.header["report"]["warnings"]:
        say(f"note: {warning}")
