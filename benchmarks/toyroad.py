"""What the toy world costs: milliseconds of CPU time a picture, by weather, and frames a second with step and driver.

    python benchmarks/toyroad.py [--quick]

Every drive is run several times from new worlds. Under `best_cpu_ms` each frame counts with its cheapest run, which is
what is left when other jobs disturb the machine; everything else is the plain mean of all runs. `start` is a world and
its first picture, after a first world in the same process. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import time

import cv2
import numpy as np

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.weather import WEATHERS


def drive(weather: str, seed: int, frames: int, height: int = 128, with_depth: bool = False) -> np.ndarray:
    """Times [frames + 1, 4] in s: CPU time of step and driver, of the picture and of depth, and wall time of all.

    Row 0 is the start: nothing, the new world and its first picture, nothing, and wall time.
    """
    cpu, wall = time.process_time, time.perf_counter
    times = np.zeros((frames + 1, 4))
    w0, c0 = wall(), cpu()
    world, driver = ToyWorld(seed, height, 2 * height, weather=weather), Driver(seed)
    world.render()
    times[0] = 0.0, cpu() - c0, 0.0, wall() - w0
    for row in times[1:]:
        w0, c0 = wall(), cpu()
        world.step(*driver.act(world))
        c1 = cpu()
        world.render()
        c2 = cpu()
        if with_depth:
            world.depth()
        row[:] = c1 - c0, c2 - c1, cpu() - c2, wall() - w0
    return times


def drives(frames: int, runs: int, seed: int = 0, **options) -> np.ndarray:
    """Times [weathers, runs, frames + 1, 4] of drives of `frames` frames."""
    cv2.setNumThreads(1)
    drive("clear", seed, 1, **options)
    return np.array([[drive(w, seed + i, frames, **options) for _ in range(runs)] for i, w in enumerate(WEATHERS)])


def _wait_and_drive(barrier, frames: int, runs: int, seed: int, queue) -> None:
    barrier.wait()
    queue.put(1 / drives(frames, runs, seed)[:, :, 1:, 3].mean())


def two_processes(frames: int, runs: int) -> float:
    """Frames a second of wall time of two processes side by side: the sum of what each reaches."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_wait_and_drive, args=(barrier, frames, runs, 100 * k, queue)) for k in range(2)]
    for worker in workers:
        worker.start()
    rate = sum(queue.get() for _ in workers)
    for worker in workers:
        worker.join()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60 frames a drive and 5 runs, not 200 and 10")
    frames, runs = (60, 5) if parser.parse_args().quick else (200, 10)
    times = drives(frames, runs)
    best_WF = times[:, :, 1:, 1].min(axis=1)
    deep = drives(frames // 4, 2, with_depth=True)[:, :, 1:]
    small = drives(frames // 2, 2, height=64)[:, :, 1:]
    result = {
        "best_cpu_ms": {w: 1e3 * ms for w, ms in zip(WEATHERS, best_WF.mean(axis=1).tolist())},
        "best_cpu_ms_mean": 1e3 * best_WF.mean(),
        "cpu_ms_mean": 1e3 * times[:, :, 1:, 1].mean(),
        "step_and_driver_cpu_ms_mean": 1e3 * times[:, :, 1:, 0].mean(),
        "start_cpu_ms_mean": 1e3 * times[:, :, 0, 1].mean(),
        "pictures_per_cpu_s": 1 / times[:, :, 1:, 1].mean(),
        "pictures_per_cpu_s_best": 1 / best_WF.mean(),
        "frames_per_cpu_s": 1 / times[:, :, 1:, :2].sum(axis=3).mean(),
        "frames_per_wall_s": 1 / times[:, :, 1:, 3].mean(),
        "frames_per_wall_s_2_processes": two_processes(frames, runs),
        "frames_per_cpu_s_with_depth": 1 / deep[..., :3].sum(axis=3).mean(),
        "frames_per_cpu_s_64x128": 1 / small[..., :2].sum(axis=3).mean(),
    }
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))))


if __name__ == "__main__":
    main()
