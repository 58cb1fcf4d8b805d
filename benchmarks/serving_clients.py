"""Clients of a server under measurement: ones that drive, one that is slow, and many that come and go.

    python benchmarks/serving_clients.py URL [--drivers 7] [--seconds 20]

prints what so many drivers saw together, as one JSON object. Server and clients share the machine's monotonic clock.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from roadcast.web.messages import Controls, Create, Credit, dump
from roadcast.web.protocol import MAX_CREDIT, Frame

WARM_S = 1.0
KEYS_S = 0.1, 0.4
"""A command follows the one before after a random time between these."""


@dataclass
class Seen:
    """What drivers saw.

    fps     frames a second, of the slowest driver
    gap_ms  between two frames
    key_ms  from a command to the first frame that answers it
    """

    fps: float = float("inf")
    frames: int = 0
    gap_ms: list[float] = field(default_factory=list)
    key_ms: list[float] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Take in what another driver saw."""
        self.fps = min(self.fps, other.fps)
        self.frames += other.frames
        self.gap_ms += other.gap_ms
        self.key_ms += other.key_ms


@contextlib.asynccontextmanager
async def session(url: str, seed: int, credit: int = MAX_CREDIT) -> AsyncIterator[ClientConnection]:
    """A session's socket, once there is a seat."""
    address = url.replace("http", "ws", 1) + "drive"
    async with connect(address, max_size=None, compression=None, open_timeout=60) as socket:
        await socket.send(dump(Create(seed=seed)))
        await socket.send(dump(Credit(credit)))
        yield socket


async def press(socket: ClientConnection, pressed: dict[int, float]) -> None:
    """Move the controls at random moments, and note when; until the connection is over."""
    with contextlib.suppress(ConnectionClosed):
        for key in itertools.count(1):
            await asyncio.sleep(random.uniform(*KEYS_S))
            pressed[key] = time.monotonic()
            await socket.send(dump(Controls(key, steer=random.uniform(-0.3, 0.3), throttle=0.4)))


async def drive(url: str, seconds: float, seed: int = 0, seen: Seen | None = None) -> Seen:
    """Drive for so long, after a warm-up; `seen` is filled while it lasts."""
    seen, pressed = seen or Seen(), {}
    async with session(url, seed) as socket:
        pressing = asyncio.create_task(press(socket, pressed))
        try:
            begins = time.monotonic() + WARM_S
            last = None
            while last is None or last < begins + seconds:
                if isinstance(message := await socket.recv(), str):
                    continue
                now, frame = time.monotonic(), Frame.unpack(message)
                await socket.send(dump(Credit(1)))
                answered = [pressed.pop(key) for key in list(pressed) if key <= frame.action_id]
                if last is not None and last > begins:
                    seen.frames += 1
                    seen.gap_ms.append(1e3 * (now - last))
                    seen.key_ms += [1e3 * (now - then) for then in answered if then > begins]
                last = now
            seen.fps = seen.frames / (last - begins)
        finally:
            pressing.cancel()
    return seen


async def drive_together(url: str, drivers: int, seconds: float) -> Seen:
    """What so many drivers see at once."""
    together = Seen()
    for seen in await asyncio.gather(*(drive(url, seconds, seed) for seed in range(drivers))):
        together.add(seen)
    return together


async def slow(url: str, seconds: float, rate: float = 10.0) -> list[float]:
    """How old frames are (ms, since they were ready to be sent) when a client reads them that reads `rate` a second, no faster.

    It keeps as much credit out as it may, which lets frames wait the longest.
    """
    age_ms = []
    async with session(url, seed=0) as socket:
        begun = time.monotonic()
        for n in range(round(seconds * rate)):
            await asyncio.sleep(max(0.0, begun + n / rate - time.monotonic()))
            while isinstance(message := await socket.recv(), str):
                pass
            age_ms.append((time.monotonic_ns() - Frame.unpack(message).ready_ns) / 1e6)
            await socket.send(dump(Credit(1)))
    return age_ms[MAX_CREDIT:]


async def come_and_go(url: str, sessions: int, at_once: int = 8) -> None:
    """Open sessions, see a frame of each, and leave: of every two, one closes as it should, and one has its socket cut."""
    numbers = iter(range(sessions))

    async def client() -> None:
        for n in numbers:
            async with session(url, seed=n, credit=1) as socket:
                while isinstance(await socket.recv(), str):
                    pass
                if n % 2:
                    socket.transport.abort()

    await asyncio.gather(*(client() for _ in range(at_once)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--drivers", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(drive_together(given.url, given.drivers, given.seconds)))))


if __name__ == "__main__":
    main()
