"""Who may take a seat: in the order of asking, and no more in line than is said."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from roadcast.serving.seat import Full

PATIENCE_S = 2.0
"""What a client that is turned away is told to wait, for each of those in front of it: a guess, for nobody knows who leaves when."""


class Admission:
    """`free` seats, and a line of at most `longest` that waits for them."""

    def __init__(self, free: int, longest: int):
        self.free, self.longest = free, longest
        self._line: deque[object] = deque()
        self._moved = asyncio.Event()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    async def enter(self, told: Callable[[int], Awaitable[None]]) -> None:
        """Take a seat, once it is this caller's turn; `told` hears its position, from 1, at first and as it falls. Raises `Full`."""
        if self.free > 0 and not self._line:
            self.free -= 1
            return
        if len(self._line) >= self.longest:
            raise self.full()
        self._line.append(me := object())
        position = None
        try:
            while self._line[0] is not me or self.free == 0:
                if (now := self._line.index(me) + 1) != position:
                    position = now
                    await told(now)
                    continue
                await self._moved.wait()
            self.free -= 1
        finally:
            self._line.remove(me)
            self._tell()

    def enter_now(self) -> None:
        """Take a seat if one is free and nobody waits for it. Raises `Full`."""
        if self.free == 0 or self._line:
            raise self.full()
        self.free -= 1

    def leave(self) -> None:
        """Give a seat back."""
        self.free += 1
        self._tell()

    def full(self) -> Full:
        """What a caller without a seat is told."""
        return Full(PATIENCE_S * (1 + len(self._line)))

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
