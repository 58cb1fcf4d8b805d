"""`roadcast data info`."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadcast.cli.console import duration, say, show_facts, size

if TYPE_CHECKING:
    import numpy as np

    from roadcast.data.reel.store import Reel

TOLD = 12
SOURCES = 5


def info(reel: Path, /, picture: Path | None = None) -> None:
    """Tell what is in a reel: recordings, lengths, sensors, signals and how their values are spread, storage, provenance.

    Examples:
      roadcast data info reels/mine
      roadcast data info reels/mine --picture mine.png

    Args:
        reel: Folder of the reel.
        picture: A .png to which histograms of the signals are drawn, coloured by split.
    """
    from roadcast.cli.data.pictures import check_ending, write_picture

    if picture:
        check_ending(picture, (".png",))
    tell_reel(reel)
    if picture:
        write_picture(picture, signal_picture(reel))
        say(f"{picture}: histograms of the signals")


def tell_reel(folder: Path) -> None:
    """Print what a reel holds."""
    from roadcast.data.reel.store import Reel
    from roadcast.data.reel.summary import reports_of

    reel = Reel(folder)
    say(f"{folder}: a reel")
    show_facts(_facts(reel))
    _tell_sensors(reel)
    _tell_signals(reel)
    for line in _histogram_columns(reel):
        say(line)
    for report in reports_of(reel):
        _tell_list("rejected", [f"{name}: {reason}" for name, reason in report.get("rejected", [])])
        _tell_list("note", report.get("warnings", []))


def signal_picture(folder: Path) -> "np.ndarray":
    """Histograms of the reel's signals of one value, by split, RGB uint8."""
    import numpy as np

    from roadcast.data.actions import ACTIONS
    from roadcast.data.draw.histogram import draw_histograms
    from roadcast.data.reel.store import Reel
    from roadcast.data.splits.split import SPLITS

    reel = Reel(folder)
    split_of = np.repeat([SPLITS.index(v.split) for v in reel.videos], [v.frames for v in reel.videos])
    signals = {}
    for name in [name for name in ACTIONS if name in reel.signals]:
        values = np.asarray(reel.signals[name])
        signals[name] = (ACTIONS[name].unit, {split: values[split_of == n] for n, split in enumerate(SPLITS)})
    length = duration(reel.frames / reel.fps)
    return draw_histograms(f"{folder.resolve().name}: {reel.frames} frames, {length}", signals)


def _facts(reel: "Reel") -> dict[str, str]:
    import numpy as np

    from roadcast.data.reel.layout import recording_of
    from roadcast.data.reel.summary import added_reports, reports_of
    from roadcast.data.splits.split import SPLITS

    recordings, frames = Counter(v.split for v in reel.videos), Counter()
    for video in reel.videos:
        frames[video.split] += video.frames
    lengths = np.array([video.frames for video in reel.videos]) / reel.fps
    sources = sorted({video.source for video in reel.videos})
    stored = int(reel.index["length"].sum(dtype=np.int64))
    raw = len(reel.index) * reel.height * reel.width * 3
    report = added_reports(reports_of(reel))
    facts = {
        "recordings": f"{len(reel.videos)} of {len({recording_of(v.name) for v in reel.videos})} drives, from "
        + ", ".join(sources[:SOURCES])
        + (f" and {len(sources) - SOURCES} more" if len(sources) > SOURCES else ""),
        "lengths": f"{duration(float(lengths.min()))} to {duration(float(lengths.max()))}, "
        f"median {duration(float(np.median(lengths)))}",
        "frames": f"{reel.frames} = {duration(reel.frames / reel.fps)} at {reel.fps:g} a second",
        "pictures": f"{reel.height}x{reel.width} (height x width), cameras: {', '.join(reel.cameras)}",
        "splits": "; ".join(
            f"{s} {recordings[s]} recordings, {frames[s]} frames, {duration(frames[s] / reel.fps)}"
            for s in SPLITS
            if recordings[s]
        ),
        "storage": f"{size(stored)}, {raw / stored:.1f} times smaller than raw RGB, at JPEG quality {reel.header['jpeg_quality']}",
    }
    if reel.sensors:
        read = sum(int(sensor.index["length"].sum(dtype=np.int64)) for sensor in reel.sensors.values())
        facts["of sensors"] = f"{size(read)} more"
    facts["calibrated"] = ", ".join(sorted({name for v in reel.videos for name in v.calibration or {}})) or "nothing"
    facts["repeated"] = f"{report['repeated']} frames show the picture of the one before"
    facts["dropped"] = ", ".join(f"{n} {reason}" for reason, n in report["dropped"].items()) or "nothing"
    facts["made from"] = "; ".join(_origins(reel.header))
    facts["fingerprint"] = reel.fingerprint
    return facts


def _origins(header: dict[str, Any]) -> Iterator[str]:
    """What the reel came from, and what was added since."""
    for n, origin in enumerate([header["origin"], *header["appended"]]):
        if "merged" in origin:
            parts = [f"{part['reel']} ({', '.join(_origins(part))})" for part in origin["merged"]]
            told = "merged of " + " and ".join(parts)
        else:
            told = str(origin.get("source", "recordings added one by one"))
        yield f"then {told}" if n else told


def _tell_sensors(reel: "Reel") -> None:
    import numpy as np

    say("sensors" if reel.sensors else "sensors: none besides cameras")
    for name, sensor in reel.sensors.items():
        spans = [
            sensor.t_ns[rows.start : rows.stop] for rows in map(sensor.of, range(len(reel.videos))) if len(rows) > 1
        ]
        steps = np.concatenate([np.diff(span) for span in spans]) if spans else np.zeros(0)
        rate = f", {1e9 / np.median(steps):.1f} a second" if len(steps) else ""
        told = f"{sensor.kind}, {len(sensor)} readings{rate}, {size(int(sensor.index['length'].sum(dtype=np.int64)))}"
        columns = f"; {' '.join(sensor.fields)}" if sensor.fields else ""
        classes = f"; classes {', '.join(sensor.classes)}" if sensor.classes else ""
        say(f"  {name:<12}  {told}{columns}{classes}")


def _tell_signals(reel: "Reel") -> None:
    import numpy as np

    from roadcast.data.actions import ACTIONS

    say("signals (share of frames known, lowest and highest value)" if reel.signals else "signals: none")
    for name, signal in reel.signals.items():
        known = np.isfinite(signal.reshape(len(signal), -1)).all(axis=1)
        unit = f" ({ACTIONS[name].unit})" if name in ACTIONS else ""
        span = (
            f"{signal[known].min():.3g} to {signal[known].max():.3g}{unit}" if known.any() and signal.ndim == 1 else ""
        )
        say(f"  {name:<12}  {known.mean():>4.0%}  {span}".rstrip())


def _histogram_columns(reel: "Reel") -> Iterator[str]:
    """Histograms of the signals of one value as lines of text, two side by side."""
    import numpy as np

    from roadcast.data.draw.histogram import histogram_lines

    charts = [
        [name, *histogram_lines(np.asarray(signal))]
        for name, signal in reel.signals.items()
        if signal.ndim == 1 and np.isfinite(signal).any()
    ]
    for n in range(0, len(charts), 2):
        left, right = charts[n], charts[n + 1] if n + 1 < len(charts) else []
        wide = max(map(len, left)) + 6
        for a, b in itertools.zip_longest(left, right, fillvalue=""):
            yield f"  {a:<{wide}}{b}".rstrip()


def _tell_list(what: str, lines: list[str]) -> None:
    for line in lines[:TOLD]:
        say(f"{what}: {line}")
    if len(lines) > TOLD:
        say(f"{what}: {len(lines) - TOLD} more, in reel.json")
