"""A run made again from its own folder, and its loss curve held against the first one's."""

import math
from dataclasses import dataclass
from pathlib import Path

import roadcast
from roadcast.config import Config, load_config
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.training.metrics import read_log
from roadcast.training.record import environment, git_state, read_record

TOLERANCE = 1e-3  # of a loss, relative: what other libraries and machines may differ by over a short run


@dataclass(frozen=True)
class Comparison:
    """Two curves of one stage.

    rows       lines of the log in both;  missing  those in one alone
    identical  whether all losses are the same to the bit
    largest    relative difference of the two losses that differ most, and the step of it
    """

    stage: str
    rows: int
    missing: int
    identical: bool
    largest: float
    at_step: int

    @property
    def reproduced(self) -> bool:
        """Whether all of it came again, within TOLERANCE."""
        return self.rows > 0 and self.missing == 0 and self.largest <= TOLERANCE

    def told(self) -> str:
        if self.identical:
            return f"{self.stage}: {self.rows} losses, identical to the last bit"
        state = "reproduced" if self.reproduced else "NOT reproduced"
        return (
            f"{self.stage}: {state}; {self.rows} losses, {self.missing} in one log alone, "
            f"the largest difference {self.largest:.2g} (relative) at step {self.at_step}"
        )


def recorded(folder: Path) -> tuple[Config, list[str]]:
    """The configuration of a run, as far as it still can be computed, and what differs today from when it was made.

    Raises `UserError` where the folder has no record, or a reel is gone or is not what it was.
    """
    folder = Path(folder)
    record = read_record(folder)
    if record is None:
        raise UserError(f"{folder}: has no record.json; give the folder of a run made by `roadcast train`")
    config = load_config(folder / "config.json")
    if config.compute.precision == "auto":
        config.compute.precision = record["precision"]
    for reel in record["reels"]:
        if not Path(reel["path"]).exists():
            raise UserError(f"{folder}: its reel {reel['path']} is not there; put it back, or ingest it again")
        if (now := Reel(reel["path"]).fingerprint) != reel["fingerprint"]:
            raise UserError(
                f"{reel['path']}: is not the reel that {folder} was trained on (fingerprint {now[:12]}, then {reel['fingerprint'][:12]}); "
                "ingest the same recordings with the same settings"
            )
    return config, changes(record)


def changes(record: dict) -> list[str]:
    """What differs between a record's code and machine and those at hand, in words."""
    found = []
    then, now = record["git"], git_state(Path(roadcast.__file__).parent)
    if then and now and then["commit"] != now["commit"]:
        found.append(f"commit {now['commit'][:12]}, then {then['commit'][:12]}")
    if then and then["changed"]:
        found.append(f"the code then had {len(then['changed'])} changed files that no commit holds")
    ours = environment()
    for key in ("python", "processor", "threads", "gpus", "libraries"):
        if (was := record["environment"].get(key)) != (is_ := ours.get(key)):
            found.append(f"{key} {is_}, then {was}")
    return found


def compare(first: Path, again: Path, stages: list[str]) -> list[Comparison]:
    """The loss curves of two runs, stage by stage."""
    return [curves(name, *(losses(run / name / "log.jsonl") for run in (first, again))) for name in stages]


def losses(path: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_log(path) if "loss" in row}


def curves(stage: str, first: dict[int, float], again: dict[int, float]) -> Comparison:
    both = sorted(first.keys() & again.keys())
    apart = {step: abs(again[step] - first[step]) / max(abs(first[step]), 1e-12) for step in both}
    worst = max(apart, key=lambda step: math.inf if math.isnan(apart[step]) else apart[step], default=0)
    largest = apart.get(worst, 0.0)
    missing = len(first.keys() ^ again.keys())
    return Comparison(stage, len(both), missing, first == again and bool(both), largest, worst)
