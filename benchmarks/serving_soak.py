"""Sessions that are driven for hours: what they see and what the server holds, minute by minute."""

import asyncio
import contextlib
import csv
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from serving_clients import Seen, drive
from serving_host import Counts, Host
from websockets.exceptions import ConnectionClosed


@dataclass(frozen=True)
class Minute:
    """One line: frames a second of each driver, and what the server held at its end."""

    minute: int
    fps: float
    gap_p99_ms: float
    key_p99_ms: float
    resident_mb: float
    files: int
    threads: int
    tasks: int
    seats: int


async def soak(host: Host, minutes: int, drivers: int, minute_s: float = 60.0) -> AsyncIterator[Minute]:
    """Drive for so long. A session that reaches the age at which the server ends it is followed by another."""
    seen, ends = Seen(), time.monotonic() + minutes * minute_s

    async def driver(seed: int) -> None:
        while (left := ends - time.monotonic()) > 0:
            with contextlib.suppress(ConnectionClosed):
                await drive(host.url, left, seed, seen)

    driving = [asyncio.create_task(driver(seed)) for seed in range(drivers)]
    begun = time.monotonic()
    for n in range(minutes):
        await asyncio.sleep(begun + (n + 1) * minute_s - time.monotonic())
        held = await asyncio.to_thread(host.counts)
        yield summary(n + 1, seen, held, drivers * minute_s)
        seen.frames = 0
        seen.gap_ms.clear()
        seen.key_ms.clear()
    await asyncio.gather(*driving)


def summary(minute: int, seen: Seen, held: Counts, driver_s: float) -> Minute:
    """A minute's line."""
    return Minute(
        minute, round(seen.frames / driver_s, 2), p99(seen.gap_ms), p99(seen.key_ms),
        round(held.resident_mb, 1), held.files, held.threads, held.tasks, held.seats,
    )  # fmt: skip


def p99(values: list[float]) -> float:
    """The 99th percentile, 0 where there is nothing."""
    return round(sorted(values)[int(0.99 * (len(values) - 1))], 1) if values else 0.0


async def write(host: Host, minutes: int, drivers: int, path: Path | None) -> list[Minute]:
    """Soak, and write every minute as a line of CSV when it is over: to the standard output, and to `path`."""
    told: list[Minute] = []
    with contextlib.ExitStack() as stack:
        files: list[TextIO] = [sys.stdout]
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.append(stack.enter_context(path.open("w")))
        tables = [csv.DictWriter(file, list(Minute.__dataclass_fields__)) for file in files]
        for table in tables:
            table.writeheader()
        async for minute in soak(host, minutes, drivers):
            told.append(minute)
            for table, file in zip(tables, files, strict=True):
                table.writerow(asdict(minute))
                file.flush()
    return told
