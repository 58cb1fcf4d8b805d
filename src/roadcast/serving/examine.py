"""The gate's examination of one version, in a process of its own: what it loads may crash, hang or eat the machine."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.errors import UserError
from roadcast.evaluation.metrics.flow import lateral_motion
from roadcast.evaluation.steering import lateral_control
from roadcast.safetensors import load_tensors
from roadcast.serving.golden import GOLDEN, Golden, difference, replay
from roadcast.serving.health import picture_fault
from roadcast.serving.manifest import build, read_manifest
from roadcast.serving.pack import Opener
from roadcast.serving.session import Session

WEIGHTS = "weights.safetensors"
WORLD_OPENER = "roadcast.serving.pack:open_world"


@dataclass(frozen=True)
class Limits:
    """What the gate asks of a version.

    seconds      the whole examination, loading included, may take
    grey_levels  mean difference of any frame of the golden rollouts, where the build is not the one they were made with; there, none
    turn         picture widths a frame that hard left must move the picture further to the right than hard right does
    frame_times  the median step may take, in times of 1 / fps; p99 under traffic is the affair of `serving.rollback`
    """

    seconds: float = 300.0
    grey_levels: float = 2.0
    turn: float = 0.001
    frame_times: float = 1.0


@dataclass(frozen=True)
class Order:
    """What is to be examined, and how it is opened: `opener` is "package.module:function" of an `Opener`."""

    folder: str
    limits: Limits
    device: str = "cpu"
    compiled: bool = False
    opener: str = WORLD_OPENER


@dataclass(frozen=True)
class Check:
    """One question put to a version, the answer, and how long it took."""

    name: str
    passed: bool
    told: str
    seconds: float


class RefusedError(UserError):
    """A version fails a check."""


class Examination:
    """The checks, in order; each returns what it found, or raises `RefusedError`."""

    WARM_UP, SCENES, TURN_FRAMES, TIMED = 8, 4, 10, 30

    session: Session

    def __init__(self, order: Order):
        self.order, self.folder, self.limits = order, Path(order.folder), order.limits
        self.manifest = read_manifest(self.folder)

    def checks(self) -> dict[str, Callable[[], str]]:
        """By name."""
        return {
            "numbers": self.numbers, "load": self.load, "pictures": self.pictures, "golden": self.golden,
            "steering": self.steering, "latency": self.latency,
        }  # fmt: skip

    def numbers(self) -> str:
        """Every weight is a finite number."""
        tensors = load_tensors(self.folder / WEIGHTS) if WEIGHTS in self.manifest.files else {}
        bad = [name for name, x in tensors.items() if x.is_floating_point() and not bool(x.isfinite().all())]
        if bad:
            raise RefusedError(f"{len(bad)} of {len(tensors)} tensors are not finite, {bad[0]} the first")
        return f"{len(tensors)} tensors are finite"

    def load(self) -> str:
        """A session opens."""
        opener: Opener = resolve_name(self.order.opener)
        self.session = opener(self.folder, self.manifest.opening, self.order.device, self.order.compiled)
        session = self.session
        return f"{session.height}x{session.width} at {session.fps:g} a second, {len(session.scenes)} scenes"

    def pictures(self) -> str:
        """Frames of every scene and a few steps are pictures of the size that was said, and move."""
        shape = (self.session.height, self.session.width, 3)
        command = self._steered(0.0)
        for scene, name in enumerate(self.session.scenes):
            before = self.session.reset(scene)
            faults = []
            for _ in range(self.WARM_UP):
                frame = self.session.step(command)
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise RefusedError(f"scene {name}: a frame is {frame.dtype} {frame.shape}, not uint8 {shape}")
                faults.append(picture_fault(frame, before, command))
                before = frame
            if faults[-1] is not None and faults[-1] == faults[-2]:
                raise RefusedError(f"scene {name}: frames are {faults[-1]}")
        return f"{self.WARM_UP} frames of {len(self.session.scenes)} scenes are pictures and move"

    def golden(self) -> str:
        """The golden rollouts come out as they did when the version was pushed."""
        golden = Golden.load(self.folder / GOLDEN)
        levels = difference(replay(self.session, golden), golden)
        equal = self.manifest.build == build(self.order.device, self.order.compiled)
        most = 0.0 if equal else self.limits.grey_levels
        if levels > most:
            raise RefusedError(f"a frame is {levels:.2g} grey levels from what it was, at most {most:g} may be")
        return "bit for bit" if levels == 0 else f"within {levels:.2g} grey levels, on another build"

    def steering(self) -> str:
        """Hard left moves the picture further to the right than hard right does, on average over a few scenes."""
        if (control := lateral_control(self.session.actions)) is None:
            return "has no steering"
        turns = []
        for scene in range(min(self.SCENES, len(self.session.scenes))):
            left, right = (self._drive(scene, side * ACTIONS[control].scale) for side in (1, -1))
            turns.append((lateral_motion(left) - lateral_motion(right)).mean() / self.session.width)
        turn = float(np.mean(turns))
        if turn < self.limits.turn:
            raise RefusedError(
                f"left and right are {turn:.2g} picture widths a frame apart, {self.limits.turn:g} at least are asked for"
            )
        return f"left and right are {turn:.2g} picture widths a frame apart"

    def latency(self) -> str:
        """A step is made in time."""
        self.session.reset()
        times, command = [], self._steered(0.0)
        for _ in range(self.TIMED):
            begun = time.perf_counter()
            self.session.step(command)
            times.append(time.perf_counter() - begun)
        median, most = float(np.median(times)), self.limits.frame_times / self.session.fps
        told = f"a step takes {1000 * median:.3g} ms, {1000 * max(times):.3g} at most"
        if median > most:
            raise RefusedError(
                f"{told}; {1000 * most:.3g} ms would be in time for {self.session.fps:g} frames a second"
            )
        return told

    def _steered(self, value: float) -> dict[str, float]:
        """A command that drives on, steering by `value`."""
        control = lateral_control(self.session.actions)
        on = {name: ACTIONS[name].scale for name in ("throttle", "speed") if name in self.session.actions}
        return on if control is None else {**on, control: value}

    def _drive(self, scene: int, value: float) -> np.ndarray:
        self.session.reset(scene)
        return np.stack([self.session.step(self._steered(value)) for _ in range(self.TURN_FRAMES)])


def examine(order: Order, begun: Callable[[str], object] = lambda name: None) -> Iterator[Check]:
    """Every check until one fails; `begun` is told the name of each before it."""
    examination = Examination(order)
    for name, check in examination.checks().items():
        begun(name)
        start = time.perf_counter()
        try:
            passed, told = True, check()
        except UserError as refusal:
            passed, told = False, str(refusal)
        except Exception as fault:
            passed, told = False, f"{type(fault).__name__}: {fault}"
        yield Check(name, passed, told, round(time.perf_counter() - start, 3))
        if not passed:
            return


def main() -> None:
    """Carry out the order `argv[1]`, telling in JSON lines on standard output what is begun and what is found."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    wanted = json.loads(sys.argv[1])
    order = Order(**{**wanted, "limits": Limits(**wanted["limits"])})
    for check in examine(order, lambda name: print(json.dumps({"begun": name}), file=told)):
        print(json.dumps(asdict(check)), file=told)


if __name__ == "__main__":
    main()
