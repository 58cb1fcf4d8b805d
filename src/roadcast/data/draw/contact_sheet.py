"""A contact sheet: what a reel looks like at one glance."""

import numpy as np

from roadcast.data.draw.canvas import (
    GAP,
    INK,
    PANEL,
    QUIET,
    SPLIT_COLOURS,
    below,
    blank,
    framed,
    grid,
    label,
    scaled,
    shortened,
    write,
)
from roadcast.data.reel.store import Reel, Video

THUMB_WIDTH = 180
HEAD = 26


def draw_contact_sheet(reel: Reel, columns: int = 8, rows: int = 24) -> np.ndarray:
    """A row of evenly spaced pictures of the first camera for each recording, under its name, split and length.

    Of a reel of more than `rows` recordings so many are shown, evenly spaced. Reads columns * rows pictures, however long
    the reel is.
    """
    shown = [reel.videos[n] for n in spaced(len(reel.videos), rows)]
    width = columns * (THUMB_WIDTH + GAP) - GAP
    parts = []
    for video in shown:
        parts.append(_head(reel, video, width))
        parts.append(_pictures(reel, video, columns, columns))
    if len(shown) < len(reel.videos):
        parts.append(blank(HEAD, width, PANEL))
        write(parts[-1], f"{len(shown)} of {len(reel.videos)} recordings, evenly spaced", 8, 17, QUIET)
    return framed(below(*parts))


def draw_recording_sheet(reel: Reel, video: Video, columns: int = 8, rows: int = 8) -> np.ndarray:
    """Evenly spaced pictures of the first camera of one recording, in rows."""
    width = columns * (THUMB_WIDTH + GAP) - GAP
    return framed(below(_head(reel, video, width), _pictures(reel, video, columns * rows, columns)))


def spaced(count: int, most: int) -> list[int]:
    """At most so many of the numbers 0 to count - 1, evenly spaced, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _pictures(reel: Reel, video: Video, most: int, columns: int) -> np.ndarray:
    height = max(1, round(THUMB_WIDTH * reel.height / reel.width))
    thumbs = []
    for k in spaced(video.frames, most):
        thumbs.append(scaled(reel.read(video.first + k), height, THUMB_WIDTH))
        label(thumbs[-1], clock((int(reel.t_ns[video.first + k]) - video.t0_ns) / 1e9), 0.36)
    return grid(thumbs, columns)


def _head(reel: Reel, video: Video, width: int) -> np.ndarray:
    image = blank(HEAD, width, PANEL)
    image[:, :4] = SPLIT_COLOURS[video.split]
    told = f"{video.split}   {clock(video.frames / reel.fps)}   {video.frames} frames"
    write(image, told, width - 8, 17, QUIET, align=1)
    write(image, shortened(video.name, width - 320), 12, 17, INK)
    return image


def clock(seconds: float) -> str:
    """Seconds as 7.2 s or 1:05.0."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest / 10:04.1f}" if minutes else f"{rest / 10:.1f} s"
