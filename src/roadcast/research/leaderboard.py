"""The rows of a leaderboard, from studies and from single evaluations."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from roadcast.config import load_config
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.research.score import scores_of
from roadcast.research.store import RESULTS, Row, Store
from roadcast.training.record import read_record


def collect(paths: Sequence[Path]) -> list[Row]:
    """The finished runs in the folders of studies, and the evaluations in those that `roadcast evaluate --out` made.

    Raises `UserError` for a folder that holds neither.
    """
    rows: list[Row] = []
    for path in map(Path, paths):
        if (path / RESULTS).is_dir():
            rows += Store(path / RESULTS).rows()
        elif (path / "metrics.json").is_file():
            rows.append(evaluation_row(path))
        else:
            raise UserError(
                f"{path}: holds no results; give the --out folder of `roadcast ablate`, `sweep` or `evaluate`"
            )
    if not rows:
        raise UserError(f"{', '.join(map(str, paths))}: no run is finished yet")
    return rows


def evaluation_row(folder: Path) -> Row:
    """One evaluation as a row, with what the world's run recorded of itself where that still lies in its place."""
    path = folder / "metrics.json"
    try:
        record = json.loads(path.read_text())
        world = Path(record["about"].get("world", ""))
        speed = record["seconds"]["imagined_frames_per_second"]
        scores, floor, protocol = scores_of(record), scores_of(record, "copy"), record["protocol"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: holds no evaluation ({error!r}); make it again with `roadcast evaluate`") from None
    config = load_config(world / "config.json") if (world / "config.json").is_file() else None
    parameters = {}
    if config is not None:
        with torch.device("meta"):
            parts = World(config).named_children()
        parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
    return Row(
        study="", name=str(folder), seed=config.seed if config else 0, changes=[], config=config.to_dict() if config else {},
        measure={}, protocol=protocol, scores=scores, floor=floor, parameters=parameters,
        seconds={"train": float("nan"), "frame": 1 / speed}, record=read_record(world.parent) or {},
        finished=datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
