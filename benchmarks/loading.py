"""How fast clips are loaded, beside others who load the same clips on the same machine in the same run.

    python benchmarks/loading.py [--quick] [--data FOLDER] [--cache FOLDER] [--table FILE]

Random clips of 16 frames at 256x144, 4 a batch, every 1st or 2nd frame, as one uint8 RGB tensor. The pictures are real driving
(--data: a folder with mp4/*.mp4 and donkey/*.tar.gz; the built-in toy world where it is not there), looped to size. The
others are used when they are installed, each alone in a process of its own, and are null, with the reason, when they are not:

    pip install av torchcodec eva-decord webdataset litdata mosaicml-streaming ffcv simplejpeg

They take turns: in every round each has one turn for every setting, from opening its store to some time after its first
batches. A ratio is ours to theirs in one round; told are the medians over the rounds. The last line is one JSON object:

clips_per_s           ours, 2 workers, stride 1
jpeg_floor_fraction   ours to a bare loop that decodes JPEGs in memory and drops them, in 2 processes
ratio_webdataset, ratio_litdata, ratio_mosaicml    ours to theirs, 2 workers each
ratio_ffcv            the same, both on libjpeg-turbo directly (ours by simplejpeg); ratio_ffcv_opencv is ours with OpenCV
simplejpeg_floor_fraction                                      ours with simplejpeg to a bare loop of simplejpeg
ratio_torchcodec, ratio_decord, ratio_pyav, ratio_opencv       on a film of 720p, one thread each
ratio_small_video     ours to the fastest of these on the same film at 256x144 with a key frame every 20, one thread each

cpu_ratio_720p, cpu_ratio_small_video    the same to the fastest, in clips a second of processor time

All figures of ours are with OpenCV alone unless told otherwise. Where both strides were measured the lesser ratio counts.
`--table` writes all figures as tables, below the heading "Figures" of the file if it has one. `--quick` gives each one turn a
stride and times a film by its first batch.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from loading_costs import costs
from loading_data import BATCH, FRAMES, HEIGHT, WIDTH, Data, prepare
from loading_memory import memory
from loading_rivals import (
    FFCV,
    Decord,
    LitData,
    MosaicML,
    OpenCV,
    PyAV,
    Rival,
    TorchCodec,
    TorchCodecApproximate,
    Video,
    WebDataset,
)
from loading_table import table, write
from torch import Tensor

from roadcast.data.loading.loader import Batches, Kind
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Sampler
from roadcast.data.reel.store import Reel

FORK = multiprocessing.get_context("fork")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LONGEST_TURN = 120.0


class Roadcast(Rival):
    """Random clips of a reel, by threads or by processes, decoded by OpenCV or simplejpeg; `store` names the reel of the data."""

    def __init__(self, kind: Kind, store: str = "reel", decoder: str = "opencv"):
        self.kind, self.store, self.film, self.decoder = kind, store, store != "reel", decoder

    def prepare(self, data: Data) -> None:
        if self.decoder == "simplejpeg":
            import simplejpeg  # noqa: F401

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        reel = Reel(getattr(data, self.store))
        sampler = Sampler([reel], "train", FRAMES, BATCH, seed=0, fps=reel.fps / stride)
        reader = Reader([reel], (), size=(HEIGHT, WIDTH))
        if self.decoder == "opencv":
            reader.content._decode_into = None
        for clip in Batches(reader, sampler.draw).batches(0, 10**6, workers, self.kind):
            yield clip.frames_BFHWC


class Floor(Rival):
    """What decoding alone costs: JPEGs of the reel, in memory, decoded one after the other and dropped."""

    def __init__(self, decoder: str):
        self.decoder = decoder

    def prepare(self, data: Data) -> None:
        if self.decoder == "simplejpeg":
            import simplejpeg  # noqa: F401

    def turn(self, data: Data, stride: int, workers: int, seconds: float) -> dict[str, float]:
        reel = Reel(data.reel)
        chosen = np.random.default_rng(0).integers(0, reel.frames, 1024).tolist()
        jpegs = [np.frombuffer(bytes(reel.jpeg(frame)), np.uint8) for frame in chosen]
        if self.decoder == "simplejpeg":
            import simplejpeg

            out = np.empty((HEIGHT, WIDTH, 3), np.uint8)

            def decode(jpeg: np.ndarray) -> object:
                return simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out)
        else:

            def decode(jpeg: np.ndarray) -> object:
                return cv2.imdecode(jpeg, cv2.IMREAD_COLOR)

        count = max(1, workers)
        start, rates = FORK.Barrier(count), FORK.Array("d", count)

        def loop(n: int) -> None:
            for jpeg in jpegs[:64]:
                decode(jpeg)
            start.wait()
            begin, done = time.perf_counter(), 0
            while (spent := time.perf_counter() - begin) < seconds:
                for jpeg in jpegs[done % 1024 : done % 1024 + 64]:
                    decode(jpeg)
                done += 64
            rates[n] = done / FRAMES / spent

        others = [FORK.Process(target=loop, args=(n,)) for n in range(1, count)]
        for other in others:
            other.start()
        loop(0)
        for other in others:
            other.join()
        return {"clips_per_s": sum(rates[:]), "first_s": float("nan")}


CONTENDERS: dict[str, Rival] = {
    "floor": Floor("opencv"),
    "floor_simplejpeg": Floor("simplejpeg"),
    "roadcast_threads": Roadcast("threads"),
    "roadcast_processes": Roadcast("processes"),
    "roadcast_simplejpeg": Roadcast("threads", decoder="simplejpeg"),
    "webdataset": WebDataset(),
    "litdata": LitData(),
    "mosaicml": MosaicML(),
    "ffcv": FFCV(),
    "roadcast_film": Roadcast("threads", "film_reel"),
    "roadcast_film_simplejpeg": Roadcast("threads", "film_reel", "simplejpeg"),
    "roadcast_720p": Roadcast("threads", "full_reel"),
    "torchcodec_exact": TorchCodec(small=False),
    "torchcodec_approximate": TorchCodecApproximate(small=False),
    "decord": Decord(small=False),
    "pyav": PyAV(small=False),
    "opencv": OpenCV(small=False),
    "small_torchcodec_exact": TorchCodec(small=True),
    "small_torchcodec_approximate": TorchCodecApproximate(small=True),
    "small_decord": Decord(small=True),
    "small_pyav": PyAV(small=True),
    "small_opencv": OpenCV(small=True),
}


class Setting(NamedTuple):
    """Who, with how many workers, every how many-th frame."""

    name: str
    workers: int
    stride: int


def turn(rival: Rival, data: Data, stride: int, workers: int, seconds: float, quick: bool) -> dict[str, float]:
    """Open, wait for the first batch, let the reading ahead settle, then count batches for some time."""
    if isinstance(rival, Floor):
        return rival.turn(data, stride, workers, seconds)
    begin, cpu = time.perf_counter(), time.process_time()
    batches = rival.batches(data, stride, workers)
    first = next(batches)
    first_s = time.perf_counter() - begin
    shape = (BATCH, FRAMES, HEIGHT, WIDTH, 3)
    assert first.shape == shape and first.dtype == torch.uint8 and first.is_contiguous(), f"gave {first.shape}"
    if quick and isinstance(rival, Video) and first_s > seconds:
        return {
            "clips_per_s": BATCH / first_s,
            "clips_per_cpu_s": BATCH / (time.process_time() - cpu),
            "first_s": first_s,
        }
    settle = 0 if rival.film and workers == 0 else 2 * max(1, workers)
    for _ in range(settle):
        next(batches)
    begin, cpu, done = time.perf_counter(), time.process_time(), 0
    for _ in batches:
        done += BATCH
        if time.perf_counter() - begin > seconds:
            break
    spent, cpu_spent = time.perf_counter() - begin, time.process_time() - cpu
    return {"clips_per_s": done / spent, "clips_per_cpu_s": done / cpu_spent, "first_s": first_s}


def wrong_pictures(rival: Video, data: Data) -> float:
    """By how many grey levels pictures of a film differ from the reel made of it, at the worst of some clips."""
    reel, film = Reel(data.film_reel), rival.open(rival.path(data))
    out = torch.empty((FRAMES, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    worst = 0.0
    for first, stride in ((47, 1), (3, 2)):
        film(first, stride, out)
        told = np.stack([reel.read(first + stride * f) for f in range(FRAMES)]).astype(np.int16)
        worst = max(worst, float(np.abs(out.numpy() - told).mean()))
    return worst


def child(pipe: Connection, rival: Rival, data: Data) -> None:
    """One contender at one number of workers, in a process of its own: does what it is told and answers."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    while (order := pipe.recv()) is not None:
        try:
            if order == "prepare":
                rival.prepare(data)
                pipe.send({"wrong": wrong_pictures(rival, data) if isinstance(rival, Video) else 0.0})
            else:
                pipe.send(turn(rival, data, *order))
        except Exception as error:
            pipe.send({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]})


class Children:
    """The processes of the contenders, by name and number of workers, each started when it is first wanted."""

    def __init__(self, data: Data):
        self.data = data
        self.running: dict[tuple[str, int], tuple[Any, Connection]] = {}

    def tell(self, name: str, workers: int, order: Any) -> None:
        """Have a contender begin with something; `answer` waits for the outcome."""
        if (name, workers) not in self.running:
            mine, its = FORK.Pipe()
            process = FORK.Process(target=child, args=(its, CONTENDERS[name], self.data))
            process.start()
            its.close()
            self.running[name, workers] = process, mine
        self.running[name, workers][1].send(order)

    def answer(self, name: str, workers: int) -> dict[str, Any]:
        pipe = self.running[name, workers][1]
        try:
            return pipe.recv() if pipe.poll(LONGEST_TURN) else self._stop(name, workers, "took too long")
        except EOFError:
            return self._stop(name, workers, "its process died")

    def _stop(self, name: str, workers: int, why: str) -> dict[str, Any]:
        process, _ = self.running.pop((name, workers))
        process.kill()
        return {"error": why}

    def end(self) -> None:
        for process, pipe in self.running.values():
            pipe.send(None)
            process.join(10)
            if process.is_alive():
                process.kill()


def settings(quick: bool) -> list[Setting]:
    """All turns of a round."""
    out = []
    for name, rival in CONTENDERS.items():
        if isinstance(rival, Video):
            workers, strides = ((0,), (1,)) if quick else ((0, 2), (1, 2))
        elif rival.film:
            workers, strides = (0,), (1,) if quick else (1, 2)
        else:
            workers, strides = ((2,), (1, 2)) if quick else (rival.workers, (1, 2))
        if isinstance(rival, Floor):
            strides = (1,)
        out += [Setting(name, w, s) for w in workers for s in strides]
    return out


def run(data: Data, quick: bool, rounds: int, seconds: float) -> dict[str, Any]:
    """All rounds: by setting, what came of each turn; who could not take part, and whose pictures are other pictures."""
    children = Children(data)
    missing: dict[str, str] = {}
    wrong: dict[str, float] = {}
    first = {name: 0 if rival.film else max(rival.workers) for name, rival in CONTENDERS.items()}
    for name, workers in first.items():
        children.tell(name, workers, "prepare")
    for name, workers in first.items():
        if "error" in (answer := children.answer(name, workers)):
            missing[name] = answer["error"]
        elif answer["wrong"] > 6:
            wrong[name] = answer["wrong"]
        print(f"{name}: {missing.get(name, 'ready')}", file=sys.stderr, flush=True)
    turns: dict[Setting, list[dict[str, float]]] = defaultdict(list)
    order = settings(quick)
    for number in range(rounds):
        for setting in order[number % 2 :: 2] + order[1 - number % 2 :: 2]:
            name, workers, stride = setting
            floor = isinstance(CONTENDERS[name], Floor)
            if name in missing or (quick and not floor and stride != number % 2 + 1):
                continue
            children.tell(name, workers, (stride, workers, seconds, quick))
            if "error" in (answer := children.answer(name, workers)):
                missing[name] = answer["error"]
            else:
                turns[setting].append(answer)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    children.end()
    return {"turns": turns, "missing": missing, "wrong": wrong}


Turns = dict[Setting, list[dict[str, float]]]


def ratios(turns: Turns, ours: Setting, theirs: Setting, what: str) -> list[float]:
    """Ours to theirs, round by round; empty if either is missing."""
    return [a[what] / b[what] for a, b in zip(turns.get(ours, []), turns.get(theirs, []))]


def least(turns: Turns, ours: str, theirs: str, workers: int, what: str = "clips_per_s") -> list[float] | None:
    """The ratios at the stride where their median is least."""
    floor = theirs.startswith("floor")
    both = [ratios(turns, Setting(ours, workers, s), Setting(theirs, workers, 1 if floor else s), what) for s in (1, 2)]
    return min((r for r in both if r), key=statistics.median, default=None)


def headline(found: dict[str, Any]) -> dict[str, Any]:
    """The figures by their names, and the spread of each ratio over the rounds."""
    turns = found["turns"]

    def speed(name: str, workers: int = 2) -> float:
        rates = [turn["clips_per_s"] for turn in turns.get(Setting(name, workers, 1), [])]
        return statistics.median(rates) if rates else 0.0

    ours = max(("roadcast_threads", "roadcast_processes"), key=speed)
    large = [name for name, rival in CONTENDERS.items() if isinstance(rival, Video) and not rival.small]
    small = [name for name, rival in CONTENDERS.items() if isinstance(rival, Video) and rival.small]
    measured = {
        "jpeg_floor_fraction": least(turns, ours, "floor", 2),
        "simplejpeg_floor_fraction": least(turns, "roadcast_simplejpeg", "floor_simplejpeg", 2),
        "ratio_torchcodec": _fastest(turns, ["torchcodec_exact", "torchcodec_approximate"]),
        "ratio_decord": _fastest(turns, ["decord"]),
        "ratio_pyav": _fastest(turns, ["pyav"]),
        "ratio_opencv": _fastest(turns, ["opencv"]),
        "ratio_small_video": _fastest(turns, small),
        "ratio_small_video_simplejpeg": _fastest(turns, small, "roadcast_film_simplejpeg"),
        "cpu_ratio_720p": _fastest(turns, large, what="clips_per_cpu_s"),
        "cpu_ratio_small_video": _fastest(turns, small, what="clips_per_cpu_s"),
        "cpu_ratio_small_video_simplejpeg": _fastest(turns, small, "roadcast_film_simplejpeg", "clips_per_cpu_s"),
        "ratio_webdataset": least(turns, ours, "webdataset", 2),
        "ratio_litdata": least(turns, ours, "litdata", 2),
        "ratio_mosaicml": least(turns, ours, "mosaicml", 2),
        "ratio_ffcv": least(turns, "roadcast_simplejpeg", "ffcv", 2),
        "ratio_ffcv_opencv": least(turns, ours, "ffcv", 2),
    }
    return {
        "clips_per_s": round(speed(ours), 1),
        **{name: None if r is None else round(statistics.median(r), 2) for name, r in measured.items()},
        "spread": {name: [round(min(r), 2), round(max(r), 2)] for name, r in measured.items() if r is not None},
        "quicker": ours.removeprefix("roadcast_"),
        "ratio_720p_jpegs_to_film": round(speed("roadcast_720p", 0) / max(speed("roadcast_film", 0), 1e-9), 3),
        "first_batch_s": {
            f"{s.name}, {s.workers} workers": round(t[0]["first_s"], 3)
            for s, t in turns.items()
            if s.stride == 1 and not s.name.startswith("floor")
        },
    }


def _fastest(
    turns: Turns, names: list[str], ours: str = "roadcast_film", what: str = "clips_per_s"
) -> list[float] | None:
    """Ours to the fastest of some decoders of a film."""
    each = [r for name in names if (r := least(turns, ours, name, 0, what))]
    return min(each, key=statistics.median, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer pictures, rounds and settings")
    parser.add_argument("--data", type=Path, help="folder of real recordings (../shared/data beside the repository)")
    parser.add_argument("--cache", type=Path, help="where what is made for the run is kept for the next")
    parser.add_argument("--table", type=Path, help="file for the tables")
    parser.add_argument("--rounds", type=int, help="turns of everyone (5, quick 2)")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTENDERS), help="leave out everyone else")
    args = parser.parse_args()
    for name in set(CONTENDERS) - set(args.only or CONTENDERS):
        del CONTENDERS[name]
    source = args.data or (SHARED_DATA if SHARED_DATA.is_dir() else None)
    rounds, seconds = args.rounds or (2 if args.quick else 5), 0.3 if args.quick else 1.5
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.cache or Path(scratch)
        frames, film_frames, preset = (1_500, 200, "veryfast") if args.quick else (20_000, 3_600, "medium")
        data = prepare(folder, source, frames, film_frames, preset)
        found = run(data, args.quick, rounds, seconds)
        result = headline(found) | memory(data.reel, (0, 2) if args.quick else (0, 1, 2, 4))
        result["cpu_us_per_picture"] = costs(data.reel, 2 if args.quick else 25)
        result |= {"missing": found["missing"], "wrong_pictures": found["wrong"], "data": data.origin, "rounds": rounds}
        result |= {"load_average": [round(load, 1), round(os.getloadavg()[0], 1)], "cpus": os.cpu_count()}
        if args.table:
            write(args.table, table(found, result, data, "python benchmarks/loading.py " + " ".join(sys.argv[1:])))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
