"""What a run loses when it is killed: SIGKILL at random moments, inside saves too, on one and on two processes; and bad disks.

    python benchmarks/crash.py [--kills 200] [--seed 0] [--quick]

A small run is trained in peace, and its losses kept. Then it is trained in lives that end by SIGKILL after a random time, all of its
processes or one of them first; every other life writes its states in the background. Before each kill the file `latest` is read:
the step it names is acknowledged, and the next life must go on from there or later. Every loss of every life, and in the end the
weights, are held against those of the run in peace, bit for bit. Then, on one process: a disk that is full (a small tmpfs, where one
may be mounted), a folder that can only be read (another), and one flipped byte in a shard; each time the trouble must be named, the state
before must load, and the run must end with the same weights. The last line is one JSON object:

kills, lost, identical   how often was killed, acknowledged steps that were gone, whether all losses and weights were the same
inside_save              kills that left a half-written state
full_disk, read_only, flipped_byte   whether each went as it must; null where no tmpfs may be mounted
"""

import argparse
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from roadcast.config import Config, override
from roadcast.data.ingest import ingest
from roadcast.errors import UserError
from roadcast.files import partials
from roadcast.presets import preset_config
from roadcast.safetensors import load_tensors
from roadcast.training.flops import measured_rate
from roadcast.training.metrics import read_log
from roadcast.training.run import train

LONGEST_LIFE = 1.5  # s, after the processes have begun to train
Losses = dict[tuple[str, int], float]


def small(reel: Path, steps: int) -> Config:
    """Two stages of a world that learns next to nothing, fast, and saves after every step."""
    changes = [
        f"data.reel={reel}", "data.height=32", "data.width=64", "tokenizer.widths=[8, 16, 16]", "tokenizer.decoder_widths=[]",
        "tokenizer.latent_channels=4", "dynamics.width=32", "dynamics.depth=4", "dynamics.heads=4", "dynamics.kv_heads=2",
        "dynamics.context_frames=5", "compute.precision=float32", "compute.trackers=[]",
    ]  # fmt: skip
    for stage in ("tokenizer", "dynamics"):
        settings = dict(
            steps=steps, batch=2, accumulate=2, clip_frames=4, save_every=1, log_every=1, evaluate_every=steps, warmup=2
        )
        changes += [f"train.{stage}.{name}={value}" for name, value in settings.items()]
        changes += [f"train.{stage}.curriculum=[]"]
    return override(preset_config("tiny"), changes)


def middle(config: Config) -> tuple[str, int]:
    """The middle of the second stage."""
    return "dynamics", config.train["dynamics"].steps // 2


# --- lives ---


def live(config: Config, folder: Path, told: Path, rank: int, ranks: int, port: int) -> None:
    """In a new process: train, and tell every step and its loss."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    line = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def report(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if rank == 0 and "loss" in figures:
            os.write(line, f"{json.dumps([stage, done, figures['loss']])}\n".encode())

    train(config, folder, report=report, tell=lambda text: None)


class Life:
    """The processes of one life, forked from this one."""

    def __init__(self, config: Config, folder: Path, told: Path, ranks: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.told = told
        self.codes: dict[int, int | None] = {}
        for rank in range(ranks):
            if (process := os.fork()) == 0:
                code = 1
                try:
                    live(config, folder, told, rank, ranks, port)
                    code = 0
                except UserError as error:
                    print(f"rank {rank}: {error}", file=sys.stderr)
                finally:
                    os._exit(code)
            self.codes[process] = None

    def over(self) -> bool:
        """Whether all processes have ended."""
        for process, code in self.codes.items():
            if code is None and (found := os.waitpid(process, os.WNOHANG))[0]:
                self.codes[process] = os.waitstatus_to_exitcode(found[1])
        return None not in self.codes.values()

    def wait(self, seconds: float = math.inf, until: Callable[[], object] = lambda: False) -> None:
        """Until all have ended, or the time is over, or `until`."""
        ends = time.monotonic() + seconds
        while not self.over() and time.monotonic() < ends and not until():
            time.sleep(0.002)

    def kill(self, chance: random.Random) -> None:
        """SIGKILL to those that live, in a random order."""
        for process in chance.sample(list(self.codes), len(self.codes)):
            if self.codes[process] is None:
                os.kill(process, signal.SIGKILL)
        self.wait()


def whole_life(config: Config, folder: Path, told: Path, ranks: int) -> None:
    """A life to its natural end."""
    life = Life(config, folder, told, ranks)
    life.wait()
    assert set(life.codes.values()) == {0}, f"a life in peace ended with {life.codes}"


def losses_in(told: Path) -> list[tuple[tuple[str, int], float]]:
    """What a life told, in order; a last line cut short is left out."""
    if not told.exists():
        return []
    lines = [line for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [((stage, step), loss) for stage, step, loss in map(json.loads, lines)]


def acknowledged(folder: Path) -> tuple[str, int] | None:
    """The stage under way and the step of its last durable state."""
    for stage in ("dynamics", "tokenizer"):
        latest = folder / stage / "state" / "latest"
        if latest.exists():
            return stage, int(latest.read_text().strip().removeprefix("step-"))
    return None


# --- kills ---


class Tally:
    """What was seen."""

    def __init__(self) -> None:
        self.kills = self.lost = self.inside_save = self.runs = self.lives = 0
        self.identical = True
        self.disks: dict[str, bool | None] = {}

    def hold(
        self, told: list[tuple[tuple[str, int], float]], before: tuple[str, int] | None, expected: Losses, what: str
    ) -> None:
        """Hold what a life told against the run in peace, and its first step against the one acknowledged before it."""
        if told and before is not None and told[0][0][0] == before[0]:
            gone = before[1] + 1 - told[0][0][1]
            if gone > 0:
                print(f"{what}: goes on at {told[0][0]}, though {before} was acknowledged")
            self.lost += max(0, gone)
        for place, loss in told:
            if expected[place] != loss:
                self.identical = False
                print(f"{what}: the loss of {place} is {loss}, in peace {expected[place]}")
                return

    def hold_weights(self, ours: Path, theirs: Path, what: str) -> bool:
        """Hold the finished world against that of the run in peace."""
        a, b = (load_tensors(run / "world" / "weights.safetensors") for run in (ours, theirs))
        same = a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        if not same:
            self.identical = False
            print(f"{what}: the weights are not those of the run in peace")
        return same


def killed_run(
    config: Config, folder: Path, peace: Path, expected: Losses, ranks: int, kills: int, chance: random.Random, tally: Tally
) -> None:  # fmt: skip
    """One run from its beginning to its end, killed at most `kills` times."""
    before, number = None, 0
    while True:
        told = folder.with_name(f"{folder.name}-life{number}")
        way = override(config, [f"compute.save_async={('yes', 'no')[number % 2]}"])
        life, number = Life(way, folder, told, ranks), number + 1
        tally.lives += 1
        if kills > 0:
            life.wait(
                60, lambda told=told: losses_in(told)
            )  # its time counts from its first step on, or it would never take one
            life.wait(chance.uniform(0, LONGEST_LIFE))
        else:
            life.wait()
        ended, last = life.over(), acknowledged(folder)
        if not ended:
            life.kill(chance)
            tally.kills, kills = tally.kills + 1, kills - 1
            tally.inside_save += any(partials(state) for state in folder.glob("*/state"))
        tally.hold(losses_in(told), before, expected, f"{ranks} ranks, life {number}")
        told.unlink(missing_ok=True)
        before = last
        if ended:
            break
    assert set(life.codes.values()) == {0}, f"a life ended by itself with {life.codes}"
    tally.runs += 1
    tally.hold_weights(folder, peace, f"{ranks} ranks, run {tally.runs}")


# --- disks ---


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[bool]:
    """A file system of that size at `folder` while the block lasts; false where one may not be mounted."""
    folder.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    try:
        yield mount.returncode == 0
    finally:
        if mount.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def trouble(config: Config, folder: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Train in a new process that does `meanwhile` in the middle of the second stage; what it ended by, empty for a good end."""
    said = folder.with_name(f"{folder.name}-said")

    def report(stage: str, done: int, *_: object) -> None:
        if (stage, done) == middle(config):
            meanwhile()

    said.write_text("")
    if (process := os.fork()) == 0:
        try:
            train(config, folder, report=report, tell=lambda text: None)
        except UserError as error:
            said.write_text(str(error))
        except BaseException as error:
            said.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    return said.read_text()


def full_disk(config: Config, folder: Path, peace: Path, tally: Tally) -> bool | None:
    """A disk that fills up in the middle of the second stage; with room made, the run must end as it would have."""
    with tmpfs(folder, "64m") as mounted:
        if not mounted:
            return None
        ballast = folder / "ballast"

        def fill() -> None:
            room = os.statvfs(folder)
            ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 200_000))

        said = trouble(config, folder / "run", fill)
        ballast.unlink(missing_ok=True)
        return ended_well(
            "full disk", said, ("No space left on device", "make room"), config, folder / "run", peace, tally
        )


def read_only(config: Config, folder: Path, peace: Path, tally: Tally) -> bool | None:
    """A folder of states that can only be read, from the middle of the second stage on."""
    states = folder / "dynamics" / "state"
    remount = ["mount", "-o", "remount,{}", str(states)]
    with tmpfs(states, "64m") as mounted:
        if not mounted:
            return None
        said = trouble(config, folder, lambda: subprocess.run([x.format("ro") for x in remount], check=True))
        subprocess.run([x.format("rw") for x in remount], check=True)
        return ended_well("read-only", said, ("Read-only file system", "access"), config, folder, peace, tally)


def ended_well(
    what: str, said: str, words: tuple[str, ...], config: Config, folder: Path, peace: Path, tally: Tally
) -> bool:
    """Whether the trouble was named, and the run then went on to the same end."""
    last, again = acknowledged(folder), trouble(config, folder)
    print(f"{what}: {said!r}, after {last}; then {again or 'to the end'}")
    return all(word in said for word in words) and not again and tally.hold_weights(folder, peace, what)


def flipped_byte(config: Config, folder: Path, peace: Path, tally: Tally, chance: random.Random) -> bool:
    """One byte of the newest state's shard is another one: the state before it loads, and the shard is named."""
    told = folder.with_name("flipped-life")
    life = Life(config, folder, told, 1)
    life.wait(until=lambda: middle(config) in dict(losses_in(told)))
    life.kill(chance)
    shard = max((folder / "dynamics" / "state").glob("step-*/__0_0.distcp"))
    data = bytearray(shard.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    shard.write_bytes(data)
    again = trouble(config, folder)
    events = [
        event["text"] for event in read_log(folder / "dynamics" / "events.jsonl") if event["kind"] == "checkpoint"
    ]
    print(f"flipped byte: {events}; then {again or 'to the end'}")
    named = any(str(shard) in text and "damaged" in text for text in events)
    return named and not again and tally.hold_weights(folder, peace, "flipped byte")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="on one process, and as many on two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three kills each, of a shorter run")
    given = parser.parse_args()
    kills, steps = (3, 12) if given.quick else (given.kills, 40)
    torch.set_num_threads(1)
    chance, tally = random.Random(given.seed), Tally()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ingest("toyroad:recordings=4,frames=40,seed=3,height=32,width=64", folder / "reel", height=32, width=64)
        config = small(folder / "reel", steps)
        measured_rate(torch.device("cpu"), torch.float32)  # once, for all processes that are forked from this one
        for ranks in (1, 2):
            peace, told = folder / f"peace{ranks}", folder / f"peace{ranks}-life"
            whole_life(config, peace, told, ranks)
            expected, target = dict(losses_in(told)), tally.kills + kills
            while tally.kills < target:
                begun = tally.kills
                name = folder / f"ranks{ranks}-run{tally.runs}"
                killed_run(config, name, peace, expected, ranks, target - tally.kills, chance, tally)
                print(f"{ranks} ranks: run {tally.runs} ended after {tally.kills - begun} kills", flush=True)
        peace = folder / "peace1"
        tally.disks = {
            "full_disk": full_disk(config, folder / "full", peace, tally),
            "read_only": read_only(config, folder / "barred", peace, tally),
            "flipped_byte": flipped_byte(config, folder / "flipped", peace, tally, chance),
        }
    counts = {name: getattr(tally, name) for name in ("kills", "lost", "identical", "inside_save", "runs", "lives")}
    print(json.dumps(counts | tally.disks))


if __name__ == "__main__":
    main()
