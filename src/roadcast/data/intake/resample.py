"""Frames at the times a camera took them, brought to a constant rate; cut where the camera paused."""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from roadcast.data.sources.base import Images, Times

TIMES_REPEATED = "frames whose time does not advance"
MISSING = "missing or unreadable images"
SKIPPED = "frames more than the reel's rate needs"


def moment_of(t_ns: Times) -> int:
    """The time of a moment: the first camera's, where each has its own."""
    return t_ns[0] if isinstance(t_ns, tuple) else t_ns


def resample(
    frames: Iterable[tuple[Times, Images | None]], fps: float, max_gap: float, dropped: Counter[str]
) -> Iterator[tuple[int, Times, Images, bool]]:
    """(run, t_ns, images, repeated) at a constant `fps`; a new run where the source has a gap, counted from 0.

    A gap is a missing picture (None), a clock that steps back, or more than `max_gap` seconds without a frame.
    What is left out is counted in `dropped`, by reason.
    """
    for run, group in itertools.groupby(_runs(frames, round(max_gap * 1e9), dropped), key=lambda item: item[0]):
        for t_ns, images, repeated in at_rate(((t, images) for _, t, images in group), fps, dropped):
            yield run, t_ns, images, repeated


def _runs(
    frames: Iterable[tuple[Times, Images | None]], max_gap_ns: int, dropped: Counter[str]
) -> Iterator[tuple[int, Times, Images]]:
    run, last = -1, None
    for times, images in frames:
        t_ns = moment_of(times)
        if images is None:
            dropped[MISSING] += 1
            last = None
            continue
        if last is not None and -max_gap_ns <= t_ns - last <= 0:
            dropped[TIMES_REPEATED] += 1
            continue
        if last is None or not 0 < t_ns - last <= max_gap_ns:
            run += 1
        last = t_ns
        yield run, times, images


def at_rate(
    frames: Iterable[tuple[Times, Images]], fps: float, dropped: Counter[str]
) -> Iterator[tuple[Times, Images, bool]]:
    """Frames of increasing times brought to ticks k / fps after the first: (t_ns, images, whether it repeats the one before).

    A tick takes the latest frame at or before it, within tolerances that make a jittered camera of about the same rate pass
    one to one: the next frame is taken though it is up to 1/2 period late, and is skipped only if the one after it is no more
    than 1/4 period late. Between a repeat and a skip the camera's phase must move by 1/4 period, so jitter does not make both.
    No frame is made up after the last one.
    """
    source = iter(frames)
    window: deque[tuple[Times, Images]] = deque(itertools.islice(source, 2))
    if not window:
        return
    held = window.popleft()
    yield *held, False
    start, period = moment_of(held[0]), 1e9 / fps
    for k in itertools.count(1):
        tick = start + round(k * period)
        window.extend(itertools.islice(source, 2 - len(window)))
        while len(window) == 2 and moment_of(window[1][0]) <= tick + period / 4:
            window.popleft()
            dropped[SKIPPED] += 1
            window.extend(itertools.islice(source, 1))
        if not window:
            return
        fresh = moment_of(window[0][0]) <= tick + period / 2
        if fresh:
            held = window.popleft()
        yield *held, not fresh
