"""`roadcast data verify`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from roadcast.cli.console import progress, say, size
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.data.reel.store import Reel


def verify(reel: Path, /, deep: bool = False) -> None:
    """Check a reel: every byte against its checksum, and whether its recordings are fit to learn from and to judge by.

    Examples:
      roadcast data verify reels/mine
      roadcast data verify reels/mine --deep

    Each damage is one line that names shard, recording, frame and offset; the exit code is then 2. Notes, which leave the
    exit code 0, tell of pictures of val and test that are in train as well, and of a steering that moves the picture the
    wrong way.

    Args:
        reel: Folder of the reel.
        deep: Decode every picture and reading as well.
    """
    from roadcast.data.reel.store import Reel

    opened = Reel(reel)
    stored = sum(shard["bytes"] for shard in opened.header["shards"].values())
    say(f"checking {len(opened.header['shards'])} shards, {size(stored)}")
    damages = opened.verify()
    if deep and not damages:
        damages = _undecodable(opened)
    for damage in damages:
        say(damage)
    if damages:
        raise UserError(f"{reel}: {len(damages)} damages, named above")
    say(f"{reel}: every byte is as it was written" + (", and every picture can be decoded" if deep else ""))
    for note in _notes(opened):
        say(note)


def _undecodable(reel: "Reel") -> list[str]:
    from roadcast.data.reel.check import undecodable

    with progress() as show:
        return list(undecodable(reel, lambda done, total: show("decoding", done, total)))


def _notes(reel: "Reel") -> list[str]:
    from roadcast.data.reel import join
    from roadcast.data.signals.alignment import TURNING, latency, reel_stretches, sign_warnings
    from roadcast.data.splits import leakage

    exact = join.leaks(reel.index, [video.split for video in reel.videos])
    leak = exact or leakage.leak_warning(reel, leakage.leaks(reel))
    notes = [f"note: {leak}"] if leak else []
    for command in [name for name in TURNING if name in reel.signals][:1]:
        stretches = reel_stretches(reel, command)
        found = latency([stretch for own in stretches.values() for stretch in own])
        if math.isnan(found.lag):
            continue
        clear = "" if found.clear else ", which is not clear enough to rely on"
        notes.append(f"{command} and the picture's motion: {found}{clear}")
        notes += [f"note: {warning}" for warning in sign_warnings(stretches, command)]
    return notes
