"""How fast one drives: frames a second and key-to-frame time over loopback, through the real server and its WebSocket.

    python benchmarks/drive.py [--checkpoint PATH [--steps N] [--compiled]] [--quick]

The server runs in a process of its own. A key is pressed at a random moment; its time ends when the first frame that
answers it has been received whole. The last line is one JSON object; its step times are those at real-time pace.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect

from roadcast.web.messages import Controls, Create, Credit, Pace, dump
from roadcast.web.protocol import MAX_CREDIT, Frame

WARM_UP_KEYS = 5


def run_server(checkpoint: str | None, steps: int | None, compiled: bool) -> None:
    """Serve on a free loopback port; this is what the second process does."""
    from roadcast.web.app import serve

    if checkpoint is None:
        from roadcast.serving.mock import MockSession

        serve(MockSession, port=0, title="mock")
    else:
        from roadcast.serving.session import ModelSession

        serve(lambda: ModelSession.open(checkpoint, steps, compiled=compiled), port=0, title=checkpoint)


@dataclass
class Measured:
    """What one phase saw: when frames arrived (s), the model's time for each, and every key's time to its frame (ms)."""

    arrived: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    key_ms: list[float] = field(default_factory=list)

    @property
    def fps(self) -> float:
        return (len(self.arrived) - 1) / (self.arrived[-1] - self.arrived[0])


async def drive(socket: ClientConnection, first_key: int, keys: int, fps: float) -> Measured:
    """Watch the frames while pressing `keys` keys, each 1 to 3 frame times after the one before was answered."""
    seen = Measured()
    answered = asyncio.Event()
    pressed: dict[int, float] = {}

    async def watch() -> None:
        while True:
            if isinstance(message := await socket.recv(), str):
                continue
            frame = Frame.unpack(message)
            now = time.perf_counter()
            await socket.send(dump(Credit(1)))
            seen.arrived.append(now)
            seen.step_ms.append(frame.step_ms)
            for key in [key for key in pressed if frame.action_id >= key]:
                seen.key_ms.append(1000 * (now - pressed.pop(key)))
                answered.set()

    watching = asyncio.create_task(watch())
    for key in range(first_key, first_key + keys):
        await asyncio.sleep(random.uniform(1, 3) / fps)
        answered.clear()
        pressed[key] = time.perf_counter()
        await socket.send(dump(Controls(key, steer=random.uniform(-0.3, 0.3), throttle=0.4)))
        answer = asyncio.create_task(answered.wait())
        await asyncio.wait((answer, watching), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise watching.exception() if watching.done() else TimeoutError(f"key {key} was not answered in 60 s")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return seen


async def benchmark(url: str, keys: int) -> tuple[Measured, Measured]:
    """One phase as fast as the model can, and one at real-time pace."""
    with urllib.request.urlopen(f"{url}info", timeout=10) as answer:
        fps = json.load(answer)["fps"]
    async with connect(url.replace("http", "ws", 1) + "drive", max_size=None, compression=None) as socket:
        await socket.send(dump(Create()))
        await socket.send(dump(Credit(MAX_CREDIT)))
        await drive(socket, 1, WARM_UP_KEYS, fps)
        await socket.send(dump(Pace(True)))
        unlimited = await drive(socket, 1 + WARM_UP_KEYS, keys, fps)
        await socket.send(dump(Pace(False)))
        paced = await drive(socket, 1 + WARM_UP_KEYS + keys, keys, fps)
    return unlimited, paced


def quantile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="a trained model; without one, toyroad itself is driven")
    parser.add_argument("--steps", type=int, help="network passes a frame; the model's own number when not given")
    parser.add_argument("--compiled", action="store_true", help="let torch.compile write code for the networks first")
    parser.add_argument("--quick", action="store_true", help="fewer keys: a glance in place of a measurement")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        run_server(arguments.checkpoint, arguments.steps, arguments.compiled)
        return
    command = [sys.executable, __file__, "--serve", *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            if "http" not in line:
                sys.exit(f"the server did not start: {line.strip() or 'see above'}")
            unlimited, paced = asyncio.run(benchmark(line.split()[-1], keys=30 if arguments.quick else 200))
        finally:
            server.terminate()
    for name, seen in (("unlimited", unlimited), ("real time", paced)):
        key, step = ([quantile(values, percent) for percent in (50, 99)] for values in (seen.key_ms, seen.step_ms))
        print(
            f"{name:9}  {seen.fps:6.1f} frames/s   key to frame p50 {key[0]} p99 {key[1]} ms   "
            f"step p50 {step[0]} p99 {step[1]} ms   ({len(seen.key_ms)} keys, {len(seen.arrived)} frames)"
        )
    figures = {
        "fps_unlimited": round(unlimited.fps, 1),
        "fps_paced": round(paced.fps, 1),
        "key_to_frame_p50_ms": quantile(paced.key_ms, 50),
        "key_to_frame_p99_ms": quantile(paced.key_ms, 99),
        "step_p50_ms": quantile(paced.step_ms, 50),
        "step_p99_ms": quantile(paced.step_ms, 99),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
