"""Messages of every kind of wrong over /drive, while a client that means well goes on driving."""

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from roadcast.client import connect as drive
from roadcast.web.messages import (
    NAMES,
    AskLog,
    Branch,
    Close,
    Controls,
    Create,
    Credit,
    Keep,
    Pace,
    Pause,
    Reset,
    Restore,
    Resume,
    Rewind,
    dump,
)

Message = str | bytes
HUNG_S, AT_ONCE, BROKEN = 5.0, 4, 1011
PROBE = '{"type": "are you there?"}'
ROWS = [[3, 0.25, 1, 0], [2, -0.5, 0, 1]]
RIGHT = [
    Controls(1, 0.5, 0.5), Create(), Create("toyroad", 1, 7, "", ROWS), Create(log=ROWS, show=True), Resume("none"), Credit(2),
    Reset(1, 3), Pause(True), Pause(False), Pace(True), Keep(), Restore("none"), Rewind(0), Branch(), AskLog(), Close(),
]  # fmt: skip
ODD = [
    None, True, [], {}, "", "x" * 10_000, "\ud800", "\0", -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324, float("nan"),
    float("inf"), [[1]], [[1, 0, 0, 0]] * 1000, [[36_001, 0, 0, 0]], [[1, float("nan"), 0, 0]], {"type": "create"},
]  # fmt: skip


def right(chance: random.Random) -> Message:
    """A message that means something, at a moment where it may not."""
    return dump(chance.choice(RIGHT))


def wrong_field(chance: random.Random) -> Message:
    """A message one of whose fields is of another type or size, is missing, or is one too many."""
    message = chance.choice(RIGHT)
    fields = {"type": NAMES[type(message)], **asdict(message)}
    name = chance.choice([*fields, "wings"])
    if chance.random() < 0.2:
        fields.pop(name, None)
    else:
        fields[name] = chance.choice(ODD)
    return json.dumps(fields)


def damaged(chance: random.Random) -> Message:
    """A message cut short, or with some of its letters changed."""
    text = str(right(chance))
    if chance.random() < 0.5:
        return text[: chance.randrange(len(text))]
    letters = list(text)
    for _ in range(chance.randint(1, 5)):
        letters[chance.randrange(len(letters))] = chr(chance.choice((chance.randrange(128), chance.randrange(0x3000))))
    return "".join(letters)


def deep(chance: random.Random) -> Message:
    """Brackets without end, or nearly so."""
    times, opening = chance.choice((10, 1000, 100_000)), chance.choice(("[", '{"a":', '{"type": "create", "log": [['))
    return opening * (times // len(opening) + 1)


def noise(chance: random.Random) -> Message:
    """Bytes, as a binary message or as one that claims to be text."""
    data = chance.randbytes(chance.choice((0, 1, 16, 1000, 50_000)))
    return data if chance.random() < 0.5 else data.decode("latin-1")


def large(chance: random.Random) -> Message:
    """About as large as a message may be, or larger: letters, a long log, or a number of a million digits."""
    size = chance.choice((2**19, 2**20 - 100, 2**20 + 1))
    rows = '{"type": "create", "log": [' + ",".join(["[1,0,0,0]"] * (size // 10)) + "]}"
    return chance.choice((rows, "9" * size, '"' + "x" * size, b"\0" * size))


KINDS = {right: 40, wrong_field: 30, damaged: 15, noise: 10, deep: 4, large: 1}
"""How often each is sent, of 100."""


def messages(chance: random.Random) -> Iterator[Message]:
    """Messages of every kind, without end."""
    while True:
        (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
        yield kind(chance)


def fuzz_websocket(url: str, token: str, count: int, number: int, server: int) -> dict[str, float]:
    """So many messages over connections of some twenty each, that end in every way; then a look at what is left.

    server  its process id
    """
    told: Counter[str] = Counter()
    with Driver(url, token, server) as driver:
        asyncio.run(_all(url, token, count, random.Random(number), told))
    deadline = time.monotonic() + 2 * HUNG_S
    while (leaked := _open(url, token)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return {
        "ws_messages": told["messages"], "ws_connections": told["connections"], "ws_hung": told["hung"],
        "ws_broken": told[f"closed {BROKEN}"], "ws_leaked": leaked, "ws_gap_s": round(driver.gap_s, 3),
        "ws_gap_cpu_s": round(driver.gap_cpu_s, 3), "ws_frames": driver.frames,
        "ws_driver_lost": driver.lost,
    }  # fmt: skip


class Driver(threading.Thread):
    """The client that means well: as many frames as it can have, at the world's own pace.

    gap_s, gap_cpu_s  the longest wait for a frame, and the most time of the processor that the server took between two: what a wait
                      would be on a machine that has nothing else to do
    """

    def __init__(self, url: str, token: str, server: int):
        super().__init__()
        self._url, self._token, self._over = url, token, threading.Event()
        self._begun = threading.Event()
        self._server = server
        self.gap_s, self.gap_cpu_s, self.frames, self.lost = 0.0, 0.0, 0, False

    def run(self) -> None:
        try:
            with drive(self._url, token=self._token) as world:
                while not self._over.is_set():
                    begin, begin_cpu_s = time.monotonic(), cpu_s(self._server)
                    world.frame()
                    self.gap_s = max(self.gap_s, time.monotonic() - begin)
                    self.gap_cpu_s = max(self.gap_cpu_s, cpu_s(self._server) - begin_cpu_s)
                    self.frames += 1
                    self._begun.set()
        except Exception as error:
            self.lost = True
            print(f"websocket: the client that means well was lost: {error!r}")

    def __enter__(self) -> "Driver":
        self.start()
        self._begun.wait(6 * HUNG_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def cpu_s(process: int) -> float:
    """Seconds of the processor that a process has had, all its threads together (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _all(url: str, token: str, count: int, chance: random.Random, told: Counter[str]) -> None:
    async def some() -> None:
        while told["messages"] < count:
            await _connection(url, token, random.Random(chance.random()), told)

    await asyncio.gather(*[some() for _ in range(AT_ONCE)])


async def _connection(url: str, token: str, chance: random.Random, told: Counter[str]) -> None:
    told["connections"] += 1
    address, headers = url.replace("http", "ws", 1) + "/drive", {"Authorization": f"Bearer {token}"}
    socket = await connect(
        address, additional_headers=headers, compression=None, max_size=None, open_timeout=4 * HUNG_S
    )
    try:
        coming = messages(chance)
        for _ in range(chance.choice((0, 1, 10, 20, 40))):
            message = next(coming)
            told["messages"] += 1
            text = isinstance(message, str) or chance.random() < 0.2
            await socket.send(
                message.encode(errors="surrogatepass") if isinstance(message, str) else message, text=text
            )
        end = chance.random()
        if end < 0.2:
            socket.transport.abort()
            return
        if end > 0.3:  # and else it is closed with answers on their way
            await socket.send(PROBE)
            async with asyncio.timeout(HUNG_S):
                await _answer(socket)
    except TimeoutError:
        told["hung"] += 1
        print("websocket: a connection was neither answered nor closed")
    except WebSocketException:  # closed, and its code says why
        pass
    finally:
        await socket.close()
        told[f"closed {socket.close_code}"] += 1


async def _answer(socket: ClientConnection) -> None:
    """Wait for the answer to PROBE."""
    async for message in socket:
        if isinstance(message, str) and "are you there?" in message:
            return


def _open(url: str, token: str) -> int:
    answer = requests.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {token}"}, timeout=4 * HUNG_S)
    return answer.json()[0]["open"]
