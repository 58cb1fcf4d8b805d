"""What an evaluation found, and how it is put on disk."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadcast.evaluation.actions import ActionFidelity
from roadcast.evaluation.metrics.distribution import Distribution
from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.pictures import Shown, animation_frames, strip_rows
from roadcast.evaluation.protocol import Protocol
from roadcast.evaluation.report.page import html_report, markdown_table
from roadcast.evaluation.steering import RealSteering
from roadcast.evaluation.sweep import Sweep
from roadcast.evaluation.video_io import encode, encode_animation, stack


@dataclass(frozen=True)
class Result:
    """Everything one evaluation measured.

    scores          [metric][system] array [clip, horizon frame]; motion and jitter in pixels, flicker and sharpness in grey levels
    metrics         [metric][system] mean and interval at every horizon frame; `RATIOS` as ratios to real
    gain            [metric of LIKENESS] model minus copy, paired by clip, at every horizon frame
    drift           [metric][system] least-squares slope a second along the rollout
    collapse        [model | copy][kind] share of clips
    distributions   [fvd | frame_frechet][system] distances of sets of features, for the extractors that were given
    steering        the steering test, or None, and then `steering_note` says why
    real_steering   the same on the recorded video, None where it says nothing
    pedals          the pedal test, or None, and then `pedals_note` says why
    actions         true commands against others, and what is read back; None where it was not asked for
    seconds         wall time, and frames imagined a second
    shown, worst    pictures of clips evenly from the list, and of those the model missed by most
    """

    protocol: Protocol
    scores: dict[str, dict[str, np.ndarray]]
    metrics: dict[str, dict[str, Estimate]]
    gain: dict[str, Estimate]
    drift: dict[str, dict[str, Estimate]]
    collapse: dict[str, dict[str, float]]
    distributions: dict[str, dict[str, Distribution]]
    steering: Sweep | None
    steering_note: str
    real_steering: RealSteering | None
    pedals: Sweep | None
    pedals_note: str
    actions: ActionFidelity | None
    seconds: dict[str, float]
    shown: Shown
    worst: Shown

    def to_dict(self) -> dict:
        """Everything but pictures and the scores of single clips, as JSON types, numbers to six digits."""
        skipped = {"scores", "shown", "worst", "protocol"}
        plain = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name not in skipped}
        return {"protocol": self.protocol.to_dict(), **plain}

    def save(
        self,
        folder: Path | str,
        *,
        title: str = "Evaluation",
        about: dict[str, str] | None = None,
        logs: dict[str, list[dict]] | None = None,
    ) -> Path:
        """Write the evaluation and return the path of the report.

        metrics.json (protocol, means, intervals, `about`), clips.npz (every clip's scores as "metric/system", for
        paired comparison of two models), table.md, strips.png, animation.webp and report.html, one self-contained
        page.

        Args:
            title: heading of the report.
            about: facts for its head, in order: model, parameters, data, commit, machine.
            logs: training log rows {"step": ..., "loss": ...} by stage name.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"about": about or {}, **self.to_dict()}
        (folder / "metrics.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        flat = {f"{name}/{s}": v.astype(np.float32) for name, by in self.scores.items() for s, v in by.items()}
        np.savez_compressed(folder / "clips.npz", **flat)
        (folder / "table.md").write_text(markdown_table(self))
        rows = [row for clip in strip_rows(self.shown, self.protocol.horizons) for row in clip.values()]
        (folder / "strips.png").write_bytes(encode(stack(rows), ".png"))
        animation = encode_animation(animation_frames(self.shown), self.protocol.fps)
        (folder / "animation.webp").write_bytes(animation)
        report = folder / "report.html"
        report.write_text(html_report(self, title=title, about=about or {}, logs=logs or {}), encoding="utf-8")
        return report


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "shown"}
    return float(f"{value:.6g}") if isinstance(value, float) else value
