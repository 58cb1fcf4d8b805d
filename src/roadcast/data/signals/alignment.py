"""Do commands and pictures agree: how long after a command the picture moves, and whether it moves the right way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from roadcast.data.reel.layout import recording_of
from roadcast.data.reel.store import Reel, Video
from roadcast.data.sources.base import Recording, Signal

TURNING = ("steer", "yaw_rate", "curvature")
"""Signals that turn the car to the left when they are positive, and so move its picture to the right."""

FLOW_WIDTH = 48
FLOW_ROWS = 0.6
EARLIEST, LATEST = -0.5, 1.0
BLOCK = 3.0
WINDOW = 10.0
GAP = 1.0
MOST_FRAMES, MOST_OF_ONE = 20_000, 2_000
DRAWS = 999

SURE = 0.01
CLEAR = 0.3


@dataclass(frozen=True)
class Latency:
    """How the picture's horizontal motion follows a command.

    lag           s from a command to the motion that goes with it; the motion between two pictures is taken to happen midway.
                  NaN, as are low and high, where the command or the picture never changes
    low, high     s, the middle 90 % of the lag over recordings made anew from blocks of 3 s (block bootstrap)
    correlation   Pearson's at the lag; positive when a positive (left) command moves the picture to the right, as it should
    p             share of draws in which blocks of 3 s with random signs reach as high a |correlation| at any lag
    same_sign     share of the recordings made anew in which the strongest correlation has this sign
    frames        pairs of a motion and a command that went in
    """

    lag: float
    low: float
    high: float
    correlation: float
    p: float
    same_sign: float
    frames: int

    @property
    def clear(self) -> bool:
        """Whether the correlation is strong, is not there by chance, and has a sign that can be relied on."""
        return abs(self.correlation) >= CLEAR and self.p <= SURE and self.same_sign >= 1 - SURE

    def __str__(self) -> str:
        interval = f"{self.lag:.3f} s (90 %: {self.low:.3f} to {self.high:.3f})"
        return f"lag {interval}, correlation {self.correlation:+.2f}, p {self.p:.3f}, {self.frames} frames"


@dataclass(frozen=True)
class Stretch:
    """Frames of one recording without a gap, with the command around them: motion float [F], of each picture from the one before."""

    t_ns: np.ndarray
    motion: np.ndarray
    command: Signal


def image_motion(t_ns: np.ndarray, images: Iterable[np.ndarray]) -> np.ndarray:
    """Horizontal speed of each picture's content from the picture before, float64 [F], in widths/s, positive to the right.

    The median of optical flow (Kroeger 2016, DIS) at the better textured half of the upper rows, which show what is far and so
    moves as the car turns. NaN for the first picture and for one that repeats the one before; after such a one the motion is
    counted from the last that was new.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    speeds = np.full(len(t_ns), np.nan)
    before, before_t = None, 0
    for n, (t, image) in enumerate(zip(t_ns, images, strict=True)):
        small = _reduced(image)
        if before is not None and np.array_equal(small, before):
            continue
        if before is not None and t > before_t:
            moved = flow.calc(before, small, None)[..., 0]  # type: ignore[call-overload]
            texture = np.abs(np.diff(before.astype(np.int16), axis=1, append=before[:, -1:]))
            speed = np.median(moved[texture >= np.median(texture)]) / small.shape[1]
            speeds[n] = speed / ((t - before_t) * 1e-9)
        before, before_t = small, t
    return speeds


def latency(stretches: Sequence[Stretch]) -> Latency:
    """The lag at which motion and command correlate most (in absolute value), over all stretches together.

    r(lag) = corr(motion(t), command(t - lag)), each stretch about its own means, at lags a frame apart from -0.5 to 1 s and
    between them by a parabola. Blocks of 3 s stand for independent pieces of evidence, for the interval (Kunsch 1989, block
    bootstrap) and for p, which hold on a lapped track where shifting one against the other would not.
    """
    sums = _block_sums(stretches)
    frames = int(sums.moments[..., 0].sum(0).max(initial=0))
    r = _correlation(sums.moments.sum(0))
    if not np.isfinite(r).all() or not len(r):
        return Latency(np.nan, np.nan, np.nan, 0.0, 1.0, 0.0, frames)
    best = int(np.abs(r).argmax())
    rng = np.random.default_rng(0)
    blocks = len(sums.moments)
    counts = rng.multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS)
    again = np.nan_to_num(_correlation(np.einsum("nb,blm->nlm", counts, sums.moments)))
    peaks = np.abs(again).argmax(1)
    low, high = np.quantile([_vertex(sums.lags, a, k) for a, k in zip(again, peaks)], (0.05, 0.95))
    signs = rng.choice((-1.0, 1.0), (DRAWS, blocks))
    spread = np.sqrt(sums.moments[..., 1].sum(0) * sums.moments[..., 2].sum(0))
    by_chance = np.abs(signs @ sums.moments[..., 3] / spread).max(1)
    return Latency(
        lag=_vertex(sums.lags, r, best),
        low=float(low),
        high=float(high),
        correlation=float(r[best]),
        p=float((1 + np.sum(by_chance >= abs(r[best]) * (1 - 1e-9))) / (1 + DRAWS)),
        same_sign=float(np.mean(np.sign(again[np.arange(DRAWS), peaks]) == np.sign(r[best]))),
        frames=frames,
    )


def recording_stretches(recording: Recording, command: str = "steer", camera: int = 0) -> list[Stretch]:
    """The stretches of a recording as its source has it, with one of TURNING as the command; every frame is read.

    Empty if the recording has no such signal.
    """
    if command not in recording.signals:
        return []
    signal = _turning(command, recording.signals)
    stretches: list[Stretch] = []
    times: list[int] = []
    images: list[np.ndarray] = []

    def close() -> None:
        if times:
            t_ns = np.array(times, np.int64)
            stretches.append(Stretch(t_ns, image_motion(t_ns, images), signal))
        times.clear()
        images.clear()

    for t, pictures in recording.frames():
        t_ns = t[camera] if isinstance(t, tuple) else t
        if pictures is None or (times and not 0 < t_ns - times[-1] < GAP * 1e9):
            close()
        if pictures is not None:
            times.append(t_ns)
            images.append(_reduced(pictures[camera] if isinstance(pictures, tuple) else pictures))
    close()
    return stretches


def reel_stretches(reel: Reel, command: str = "steer", camera: int = 0) -> dict[str, list[Stretch]]:
    """Runs of 10 s of a reel, with one of TURNING as the command, by the recording of the source they come from.

    Pieces NAME-0000, NAME-0001, ... are one recording. At most 2000 frames of a recording and 20,000 in all are looked at,
    evenly spread. Empty if the reel has no such signal.
    """
    if command not in reel.signals:
        return {}
    length = round(WINDOW * reel.fps)
    windows: dict[str, list[tuple[Video, int]]] = {}
    for video in reel.videos:
        firsts = range(video.first, video.first + max(1, video.frames - 2), length)
        windows.setdefault(recording_of(video.name), []).extend((video, first) for first in firsts)
    names = [list(windows)[n] for n in _spread(len(windows), MOST_FRAMES // length)]
    each = max(1, min(MOST_FRAMES // len(names), MOST_OF_ONE) // length)
    return {
        name: [_stretch(reel, *windows[name][n], length, command, camera) for n in _spread(len(windows[name]), each)]
        for name in names
    }


def sign_warnings(stretches: dict[str, list[Stretch]], command: str = "steer") -> list[str]:
    """A line for each recording whose pictures clearly move against `command`; nothing where the evidence is thin.

    Clear is a |correlation| >= 0.3 with p <= 0.01, of one sign in 99 % of the recordings made anew. Recordings too short to
    be clear alone are judged together.
    """
    found = {name: latency(own) for name, own in stretches.items()}
    unclear = [name for name, result in found.items() if not result.clear]
    if len(unclear) > 1:
        found[f"{len(unclear)} recordings ({unclear[0]} ...)"] = latency([s for n in unclear for s in stretches[n]])
    return [
        f"{name}: pictures move against {command} (correlation {result.correlation:+.2f} at {result.lag:.2f} s over "
        f"{result.frames} frames), so its sign looks wrong; look at a curve, and ingest with --invert {command}"
        for name, result in found.items()
        if result.clear and result.correlation < 0
    ]


@dataclass(frozen=True)
class _Sums:
    """Lags [L] in s; of every block and lag: count, and sums of motion^2, command^2 and motion * command [blocks, L, 4]."""

    lags: np.ndarray
    moments: np.ndarray


def _block_sums(stretches: Sequence[Stretch]) -> _Sums:
    steps = [np.diff(stretch.t_ns) for stretch in stretches if len(stretch.t_ns) > 2]
    if not steps:
        return _Sums(np.zeros(0), np.zeros((0, 0, 4)))
    step = float(np.median(np.concatenate(steps))) * 1e-9
    lags = (np.arange(np.ceil(EARLIEST / step), np.floor(LATEST / step) + 1) - 0.5) * step
    low, high = np.nanpercentile(np.concatenate([s.motion for s in stretches] + [np.zeros(1)]), (1, 99))
    blocks = []
    for stretch in stretches:
        midway = stretch.t_ns[1:] - np.diff(stretch.t_ns) // 2
        motion = np.clip(stretch.motion[1:], low, high)
        at = (midway[None] - np.rint(lags * 1e9).astype(np.int64)[:, None]).ravel()
        commands = stretch.command.at(at, 1e9).astype(np.float64).reshape(len(lags), -1)
        known = np.isfinite(motion) & np.isfinite(commands).all(0)
        if known.sum() < 3:
            continue
        x, ys = motion[known] - motion[known].mean(), commands[:, known]
        ys = ys - ys.mean(1, keepdims=True)
        sums = np.stack([np.ones_like(ys), np.broadcast_to(x * x, ys.shape), ys * ys, x * ys], -1)
        number = ((midway[known] - midway[0]) // round(BLOCK * 1e9)).astype(np.int64)
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        blocks.append(np.moveaxis(np.add.reduceat(sums, starts, axis=1), 1, 0))
    return _Sums(lags, np.concatenate(blocks) if blocks else np.zeros((0, len(lags), 4)))


def _correlation(moments: np.ndarray) -> np.ndarray:
    """From sums [..., 4]; NaN where one of the two does not vary."""
    spread = np.sqrt(moments[..., 1] * moments[..., 2])
    return np.divide(moments[..., 3], spread, out=np.full(spread.shape, np.nan), where=spread > 1e-12)


def _vertex(lags: np.ndarray, r: np.ndarray, k: int) -> float:
    """Where the parabola through three neighbours peaks."""
    if not 0 < k < len(r) - 1:
        return float(lags[k])
    a, b, c = np.abs(r[k - 1 : k + 2])
    bend = a - 2 * b + c
    return float(lags[k] + (0.5 * (a - c) / bend if bend < 0 else 0.0) * (lags[1] - lags[0]))


def _stretch(reel: Reel, video: Video, first: int, length: int, command: str, camera: int) -> Stretch:
    whole = slice(video.first, video.first + video.frames)
    last = min(first + length, whole.stop)
    own = {
        name: Signal.of(reel.t_ns[whole], reel.signals[name][whole])
        for name in (command, "speed")
        if name in reel.signals
    }
    t_ns = np.array(reel.index["t_ns"][camera :: len(reel.cameras)][first:last])
    motion = image_motion(t_ns, (reel.read(frame, camera) for frame in range(first, last)))
    return Stretch(t_ns, motion, _turning(command, own))


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count - 1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, max(1, most))).astype(int)).tolist()


def _turning(command: str, signals: dict[str, Signal]) -> Signal:
    """What should go with the picture's motion: a steering angle or a curvature turns the car only as fast as it drives."""
    signal = signals[command]
    if command == "yaw_rate" or "speed" not in signals or not len(signals["speed"].t_ns):
        return signal
    return Signal.of(signal.t_ns, signal.values * signals["speed"].at(signal.t_ns))


def _reduced(image: np.ndarray) -> np.ndarray:
    """The upper rows, grey, FLOW_WIDTH pixels wide; a picture that is so already stays as it is."""
    if image.ndim == 2:
        return image
    height, width = image.shape[:2]
    upper = image[: max(1, round(height * FLOW_ROWS))]
    to = (FLOW_WIDTH, max(16, round(len(upper) * FLOW_WIDTH / width)))
    return cv2.resize(cv2.cvtColor(upper, cv2.COLOR_RGB2GRAY), to, interpolation=cv2.INTER_AREA)
