"""What the terminal shows: progress bars where there is a terminal, plain lines where there is none."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY_S = 10.0
SHOWN_FIGURES = {"loss": "loss", "psnr": "psnr", "step_seconds": "s/step", "memory_share": "of memory"}

out = Console(highlight=False, soft_wrap=True)


class Show(Protocol):
    """Called as work goes on: what is under way, units done, units in all (None: unknown), latest figures."""

    def __call__(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None: ...


def say(text: str) -> None:
    """One line of text on stdout, as it is."""
    out.print(text, markup=False)


def show_table(rows: list[list[str]]) -> None:
    """Rows, head and all, in columns; the first reads left, the others right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        say("  ".join([f"{first:<{wide[0]}}", *(f"{cell:>{w}}" for cell, w in zip(others, wide[1:], strict=True))]))


def show_facts(facts: Mapping[str, str], indent: str = "") -> None:
    """Names and values, the values below one another."""
    wide = max(map(len, facts), default=0)
    for name, value in facts.items():
        say(f"{indent}{name:<{wide}}  {value}")


@contextmanager
def progress() -> Iterator[Show]:
    """A function that shows how work goes on, for as long as the block lasts; it may be called from any thread."""
    if not out.is_terminal:
        yield PlainProgress()
        return
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[count]:>13}"), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}", style="dim"),
    )  # fmt: skip
    with Progress(*columns, console=out) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def show(task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
            with lock:
                if task not in tasks:
                    tasks[task] = bars.add_task(task, total=total, count="", figures="")
            count = f"{done}/{total}" if total else str(done)
            bars.update(tasks[task], completed=done, total=total, count=count, figures=figures_text(figures))

        yield show


class PlainProgress:
    """Progress as lines: the first of a task, then one every PLAIN_EVERY_S seconds, and the last."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            if done != total and now - self._last.get(task, -PLAIN_EVERY_S) < PLAIN_EVERY_S:
                return
            self._last[task] = now
            share = f" ({done / total:.0%})" if total else ""
            say(f"{task}: {done}{f' of {total}' if total else ''}{share}  {figures_text(figures)}".rstrip())


def figures_text(figures: Mapping[str, float] | None) -> str:
    """The figures worth a place beside a bar."""
    figures = figures or {}
    return "  ".join(f"{called} {figures[name]:.3g}" for name, called in SHOWN_FIGURES.items() if name in figures)


def duration(seconds: float) -> str:
    """Seconds as `41 s`, `7 min 05 s` or `2 h 03 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes as `512 B`, `3.1 MB` or `2.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
