"""What an ingest tells of its work: kept in the reel, and read back from it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.reel.store import Reel
from roadcast.data.splits.split import SPLITS


@dataclass
class Summary:
    """What an ingest made, left out, and noticed; `repeated` frames show the picture of the one before."""

    path: Path
    recordings: int
    frames: int
    fps: float
    splits: dict[str, int]
    bytes_jpeg: int
    bytes_sensors: int
    bytes_raw: int
    repeated: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    already_done: bool = False

    @property
    def storage_ratio(self) -> float:
        """How many times smaller the reel's pictures are than raw uint8 RGB of the same size."""
        return self.bytes_raw / self.bytes_jpeg

    @property
    def seconds(self) -> float:
        """How long all recordings are together."""
        return self.frames / self.fps


def summary_of(reel: Reel, already_done: bool = False) -> Summary:
    """The summary of a reel that `ingest` made."""
    report = added_reports(reports_of(reel))
    splits = Counter(video.split for video in reel.videos)
    return Summary(
        path=reel.path,
        recordings=len(reel.videos),
        frames=reel.frames,
        fps=reel.fps,
        splits={name: splits[name] for name in SPLITS},
        bytes_jpeg=int(reel.index["length"].sum(dtype=np.int64)),
        bytes_sensors=sum(int(sensor.index["length"].sum(dtype=np.int64)) for sensor in reel.sensors.values()),
        bytes_raw=len(reel.index) * reel.height * reel.width * 3,
        repeated=report["repeated"],
        dropped=report["dropped"],
        rejected=[(name, reason) for name, reason in report["rejected"]],
        warnings=report["warnings"],
        already_done=already_done,
    )


def reports_of(reel: Reel) -> list[dict[str, Any]]:
    """What was reported when the reel was made, and each time it was appended to."""
    return [reel.header.get("report", {}), *(appended.get("report", {}) for appended in reel.header["appended"])]


def added_reports(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Reports such as reel.json keeps as one: counts added up, and each warning once."""
    dropped = sum((Counter(report.get("dropped", {})) for report in reports), Counter())
    return {
        "repeated": sum(report.get("repeated", 0) for report in reports),
        "dropped": dict(dropped),
        "rejected": [row for report in reports for row in report.get("rejected", [])],
        "warnings": list(dict.fromkeys(warning for report in reports for warning in report.get("warnings", []))),
    }


def join_reports(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What reel.json keeps of the reports on single recordings (`Taker.take`): counts added up, words in order."""
    dropped: Counter[str] = Counter()
    for report in reports:
        dropped.update(report.get("dropped", {}))
    return {
        "repeated": sum(report.get("repeated", 0) for report in reports),
        "dropped": dict(dropped),
        "rejected": [report["rejected"] for report in reports if "rejected" in report],
        "warnings": [note for report in reports for note in report.get("notes", ())],
    }
