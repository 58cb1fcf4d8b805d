"""How fast the toy world is drawn: frames a second at 128 x 256, steps and driver included.

    python benchmarks/toyroad.py [--quick]

Weathers in turn, a warm-up for each. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import time

import cv2

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.weather import WEATHERS


def seconds(frames: int, seed: int, with_depth: bool = False, height: int = 128, clock=time.perf_counter) -> float:
    """Time in seconds to simulate and draw `frames` frames."""
    cv2.setNumThreads(1)
    total = 0.0
    for i, weather in enumerate(WEATHERS):
        world, driver = ToyWorld(seed + i, height, 2 * height, weather=weather), Driver(seed + i)
        world.render()
        start = clock()
        for _ in range(frames // len(WEATHERS)):
            world.step(*driver.act(world))
            world.render()
            if with_depth:
                world.depth()
        total += clock() - start
    return total


def _wait_and_draw(barrier, frames: int, seed: int, queue) -> None:
    barrier.wait()
    queue.put(seconds(frames, seed))


def two_processes(frames: int) -> float:
    """Frames a second of two processes side by side: the sum of what each reaches."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_wait_and_draw, args=(barrier, frames, 100 * k, queue)) for k in range(2)]
    for worker in workers:
        worker.start()
    rate = sum(frames / queue.get() for _ in workers)
    for worker in workers:
        worker.join()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames")
    frames = 300 if parser.parse_args().quick else 3000
    result = {
        "frames_per_s": frames / seconds(frames, 0),
        "frames_per_cpu_s": frames / seconds(frames, 0, clock=time.process_time),
        "frames_per_s_2_processes": two_processes(frames),
        "frames_per_s_with_depth": frames / seconds(frames, 0, with_depth=True),
        "frames_per_s_64x128": frames / seconds(frames, 0, height=64),
    }
    print(json.dumps({name: round(value, 1) for name, value in result.items()}))


if __name__ == "__main__":
    main()
