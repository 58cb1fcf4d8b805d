"""Bad models under people who drive: each is refused or rolled back, and nobody's session is lost.

    python benchmarks/bad_versions.py [--quick] [--drivers 4] [--frames 40] [--keep FOLDER]

A `roadcast serve` on a registry, in a process of its own, drives the world in the box; `drivers` clients drive on all the while. Then:

  gate     six bad versions are promoted: corrupt file, weights that are no numbers, frozen frames, no steering, too slow, a crash on load
  past it  the alias is moved to each of them behind the gate's back, and the server has to find out
  service  versions that pass go bad while they are driven: by nan, by errors, frozen, slow

The first five are worlds that are so by their files; a crash on load, and what happens in service, are put into the server's process (and
the gate's) by a `sitecustomize.py`, for no file of a world can do it. `--quick` leaves out the gate, which the server asks anyway, and
tries one kind past it and one fault in service. The last line is a JSON object: seconds from the move or the fault to
the record in the registry's log, by kind; what is not "ok" is in `failed`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from roadcast.cli.device import leave_a_core
from roadcast.cli.folders import IN_THE_BOX
from roadcast.client import Moved, Refused, connect, models
from roadcast.safetensors import load_tensors, save_tensors
from roadcast.serving.examine import WEIGHTS, Limits
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.gate import Gate
from roadcast.serving.golden import GOLDEN, record
from roadcast.serving.manifest import Opening, read_manifest, write_manifest
from roadcast.serving.pack import open_world, pack
from roadcast.serving.registry import Registry
from roadcast.web.messages import Create

MODEL, ALIAS = "toy", "production"
SLOW_STEPS = 24
SCENES = 2
KINDS = {
    "corrupt": "files", "nan": "numbers", "frozen": "pictures", "no steering": "steering", "slow": "latency", "crash": "load",
}  # fmt: skip
"""Of bad versions, and by which check of the gate each must be refused."""
FAULTS = ("nan", "error", "frozen", "slow")
QUICK_KINDS, QUICK_FAULTS = ("frozen",), ("nan",)

HOOKS = """
import importlib.util, os, signal, sys, time
from pathlib import Path

FAULT = Path(os.environ["ROADCAST_FAULT"])

def crash(module):
    load = module.World.load.__func__
    def loaded(cls, folder, *more, **named):
        if (Path(folder) / "crash").exists():
            os.kill(os.getpid(), signal.SIGSEGV)
        return load(cls, folder, *more, **named)
    module.World.load = classmethod(loaded)

def fault(module):
    step, last = module.ModelBackend.step, {}
    def faulty(self, actions):
        version, _, kind = FAULT.read_text().partition(" ") if FAULT.exists() else ("", "", "")
        if self.version != version:
            return step(self, actions)
        if kind == "nan":
            raise module.NotFinite(list(actions))
        if kind == "error":
            raise RuntimeError("the device is gone")
        if kind == "slow":
            time.sleep(float(os.environ["ROADCAST_SLOW_S"]))
        shown = step(self, actions)
        if kind == "frozen":
            for slot in shown:
                shown[slot] = last.setdefault(slot, shown[slot])
        return shown
    module.ModelBackend.step = faulty

class Finder:
    wanted = {"roadcast.flow.world": crash, "roadcast.serving.pool": fault}
    def find_spec(self, name, path=None, target=None):
        if (patch := self.wanted.pop(name, None)) is None:
            return None
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            patch(module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


class Driver(threading.Thread):
    """A client that drives on, and goes on elsewhere when it is told to.

    frames, moved  that it has seen, and times that it was sent on
    gap_s          the longest between two frames
    lost           why it could not go on, or what it lost
    """

    def __init__(self, url: str, seed: int):
        super().__init__(daemon=True)
        self.url, self.seed, self.frames, self.moved, self.gap_s, self.lost, self.version = url, seed, 0, 0, 0.0, "", ""
        self.leave = threading.Event()

    def run(self) -> None:
        create, step = Create(scene=self.seed % SCENES, seed=self.seed), 0
        while not self.leave.is_set():
            try:
                with connect(self.url, create, timeout=120) as drive:
                    step = self._drive(drive, step)
            except Moved as moved:
                create, self.moved = moved.again, self.moved + 1
            except (Refused, OSError, TimeoutError) as error:
                self.lost = f"{type(error).__name__}: {error}"
                return

    def _drive(self, drive, step: int) -> int:
        last_s = None
        while not self.leave.is_set():
            frame = drive.step(steer=0.3 * np.sin(self.frames / 20), throttle=0.5, timeout=120)
            now = time.monotonic()
            self.gap_s = max(self.gap_s, 0.0 if last_s is None else now - last_s)
            if frame.step < step:
                self.lost = f"was at step {step}, and is at {frame.step}"
            last_s, step, self.version, self.frames = now, frame.step, frame.model_version, self.frames + 1
        return step


@contextmanager
def driving(url: str, count: int, first: int = 0) -> Iterator[list[Driver]]:
    """So many drivers, once all of them see frames."""
    drivers = [Driver(url, first + number) for number in range(count)]
    for driver in drivers:
        driver.start()
    wait(lambda: all(driver.frames > 2 or driver.lost for driver in drivers), 300)
    try:
        yield drivers
    finally:
        for driver in drivers:
            driver.leave.set()
        for driver in drivers:
            driver.join(30)


@contextmanager
def serving(folder: Path, seats: int, fps: float, slow_s: float) -> Iterator[str]:
    """The address of a `roadcast serve` on the registry."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOKS)
    os.environ |= {"ROADCAST_FAULT": str(folder / "fault"), "ROADCAST_SLOW_S": str(1.5 * slow_s)}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(hooks), *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path.insert(0, str(hooks))  # which is what the gate's process gets
    command = [
        sys.executable, "-m", "roadcast", "serve", f"{MODEL}@{ALIAS}", "--registry", str(folder / "registry"), "--port", "0",
        "--seats", str(seats), "--fps", str(fps), "--slow-ms", str(1000 * slow_s),
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http" in line, (folder / "server.log").read_text()
            yield line.rpartition(" ")[2].strip()
            assert process.poll() is None, "the server is gone"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def bad(good: Path, folder: Path, kind: str) -> Path:
    """A copy of the good version that is bad by its files."""
    shutil.copytree(good, folder)
    opening, tensors = Opening(), load_tensors(folder / WEIGHTS)
    if kind == "nan":
        tensors["dynamics.registers"].view(-1)[0] = torch.nan
    elif kind == "frozen":
        tensors["tokenizer.decoder.out.conv.weight"].zero_()
        tensors["tokenizer.decoder.out.conv.bias"].uniform_(-1, 1)
    elif kind == "no steering":
        tensors["dynamics.embed_action.layers.2.weight"].zero_()
    elif kind == "slow":
        opening = Opening(steps=SLOW_STEPS)
    elif kind == "crash":
        (folder / "crash").touch()
    save_tensors(folder / WEIGHTS, tensors)
    if kind in ("frozen", "no steering", "slow"):  # its golden rollouts are its own
        record(open_world(folder, opening)).save(folder / GOLDEN)
    write_manifest(folder, opening, {"kind": float(list(KINDS).index(kind))}, read_manifest(good).known)
    return folder


def push(registry: Registry, folder: Path, kind: str = "") -> int:
    """The version's number; a corrupt one is damaged where it lies."""
    number = registry.push(MODEL, folder)
    if kind == "corrupt":
        path = registry.store.fetch(MODEL, number) / WEIGHTS
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    return number


def wait(what: Callable[[], object], seconds: float) -> float:
    """The seconds until something is true; infinite where it is not in time."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() - begun > seconds:
            return float("inf")
        time.sleep(0.2)
    return time.monotonic() - begun


def said(registry: Registry, number: int, *events: str) -> str:
    """Why the registry's log says that a version was refused or quarantined."""
    records = [r for r in registry.store.records() if r["version"] == number and r["event"] in events]
    return records[-1]["why"] if records else ""


def main() -> None:
    """Everything above, told as it goes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--drivers", type=int, default=4, help="at least 3, for fewer that break condemn nothing")
    parser.add_argument("--frames", type=int, default=40, help="that every driver must see after each event")
    parser.add_argument("--fps", type=float, default=20.0)
    parser.add_argument("--slow", type=float, default=0.4, help="seconds that p99 of a step may take")
    parser.add_argument("--patience", type=float, default=600.0)
    parser.add_argument("--keep", type=Path, help="a folder for the registry and the server's log")
    asked = parser.parse_args()
    leave_a_core()  # as the server does, which takes the gate's word only for as many threads as its own
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        print(json.dumps(measure(folder, asked)))


def measure(folder: Path, asked: argparse.Namespace) -> dict:
    world, good = folder / "world", folder / "good"
    shutil.copytree(IN_THE_BOX, world)
    with np.load(IN_THE_BOX / "scenes.npz") as scenes:
        np.savez(world / "scenes.npz", **{name: scenes[name][:SCENES] for name in scenes.files})
    pack(world, good, Opening())
    kinds, faults = (QUICK_KINDS, QUICK_FAULTS) if asked.quick else (KINDS, FAULTS)
    worlds = {kind: bad(good, folder / kind, kind) for kind in kinds}
    registry, gate = Registry(FolderStore(folder / "registry")), Gate(Limits(frame_times=2.0))
    for _ in range(2):
        number = push(registry, good)
        registry.passed(MODEL, number, gate.build)
        registry.promote(MODEL, number, ALIAS)
    result: dict = {"gate_s": {}, "past_the_gate_s": {}, "service_s": {}, "failed": []}

    def check(what: str, well: bool, told: str) -> None:
        print(f"{what:28} {'ok  ' if well else 'FAIL'} {told}", flush=True)
        if not well:
            result["failed"].append(what)

    def go_on(what: str, drivers: list[Driver]) -> None:
        seen = [driver.frames for driver in drivers]
        moving = wait(
            lambda: all(d.frames - n >= asked.frames or d.lost for d, n in zip(drivers, seen, strict=True)), 300
        )
        lost = [driver.lost for driver in drivers if driver.lost]
        check(f"{what}: drivers", moving < 300 and not lost, f"{lost or f'{asked.frames} frames more each'}")

    with (
        serving(folder, 2 * asked.drivers + 2, asked.fps, asked.slow) as url,
        driving(url, asked.drivers) as drivers,
    ):
        stable = number

        def served(number: int) -> bool:
            return models(url)[0]["version"] == str(number)

        def heard(number: int, *events: str) -> float:
            return round(wait(lambda: said(registry, number, *events), asked.patience), 1)

        for kind in KINDS if not asked.quick else ():
            number, begun = push(registry, worlds[kind], kind), time.monotonic()
            report = gate.admit(registry, MODEL, number, ALIAS)
            result["gate_s"][kind] = round(time.monotonic() - begun, 1)
            check(f"gate: {kind}", report.refusal.startswith(KINDS[kind]) and served(stable), report.refusal)
            go_on(f"gate: {kind}", drivers)
        for kind in kinds:
            number = push(registry, worlds[kind], kind)
            registry.store.set_alias(MODEL, ALIAS, number)
            result["past_the_gate_s"][kind] = heard(number, "refuse", "quarantine")
            why = said(registry, number, "refuse", "quarantine")
            check(f"past the gate: {kind}", why.startswith(KINDS[kind]) and served(stable), why)
            go_on(f"past the gate: {kind}", drivers)
            registry.store.set_alias(MODEL, ALIAS, stable)
        for kind in faults:
            number = push(registry, good)
            registry.passed(MODEL, number, gate.build)
            registry.promote(MODEL, number, ALIAS)
            wait(partial(served, number), asked.patience)
            with driving(url, asked.drivers, 100) as others:
                on_it = sum(driver.version == str(number) for driver in others)
                (folder / "fault").write_text(f"{number} {kind}")
                result["service_s"][kind] = heard(number, "quarantine")
                why = said(registry, number, "quarantine")
                well = on_it == asked.drivers and served(stable) and registry.aliases(MODEL)[ALIAS] == stable
                check(f"in service: {kind}", well, why)
                go_on(f"in service: {kind}", drivers + others)
                moved = sum(driver.moved for driver in others)
                check(
                    f"in service: {kind}: sent on", (moved == 0) == (kind == "slow"), f"{moved} of {on_it} were sent on"
                )
            (folder / "fault").unlink()
        result["lost"] = sum(bool(driver.lost) for driver in drivers)
        result["gap_ms"] = round(1000 * max(driver.gap_s for driver in drivers))
    times = [*result["past_the_gate_s"].values(), *result["service_s"].values()]
    return result | {"slowest_s": max(times), "drivers": asked.drivers}


if __name__ == "__main__":
    main()
