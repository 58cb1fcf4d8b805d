"""`roadcast demo`."""

import time
from pathlib import Path
from typing import Annotated

import tyro

from roadcast.cli.console import duration, progress, say
from roadcast.cli.evaluate import run_evaluation, show_result
from roadcast.cli.folders import kind_of, recipe_path
from roadcast.cli.train import configure, run_training

SOURCE = "toyroad:recordings={recordings},frames={frames},weather=clear,height={height},width={width}"


def demo(
    *,
    out: Path = Path("runs/demo"),
    recordings: int = 24,
    frames: int = 100,
    clips: int = 24,
    horizon: int = 16,
    set_: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")] = (),
) -> None:
    """The whole road in about ten minutes on two CPU cores, without any data of your own.

    Records drives in a small built-in world, trains a small world model on them by recipes/demo.toml, evaluates it, and
    says how to drive it. Each part that is done is skipped, so that a stopped demo goes on when called again.

    Examples:
      roadcast demo
      roadcast demo --out /tmp/demo --set train.dynamics.steps=3000

    Args:
        out: Folder for everything it makes: reel/, the run, world/, evaluation/.
        recordings: Drives to record.
        frames: Frames of each.
        clips: Clips to evaluate on, half of them in the steering test too.
        horizon: Frames to imagine of each.
        set_: Changes to the recipe's settings, by dotted name, such as train.dynamics.steps=3000.
    """
    reel, report = out / "reel", out / "evaluation" / "report.html"
    config = configure(recipe_path("demo"), None, reel, list(set_))
    began = time.monotonic()
    if _part("1/3 recording drives", kind_of(reel) == "reel"):
        _record(config.data, recordings, frames, reel)
        _took("recording", began)
    started = time.monotonic()
    if _part("2/3 training", kind_of(out / "world") == "world"):
        run_training(config, out)
        _took("training", started)
    started = time.monotonic()
    if _part("3/3 evaluating", report.exists()):
        result, _ = run_evaluation(
            out, reel, out / "evaluation", split="val", clips=clips, context=min(16, config.dynamics.context_frames),
            horizon=horizon, steering_contexts=clips // 2, action_contexts=clips // 2,
        )  # fmt: skip
        show_result(result)
        _took("evaluating", started)
    say(f"done in {duration(time.monotonic() - began)}")
    say(f"report: {report}")
    say(f"drive it: roadcast drive {out / 'world'}")


def _record(data, recordings: int, frames: int, reel: Path) -> None:
    from roadcast.data.ingest import ingest

    source = SOURCE.format(recordings=recordings, frames=frames, height=data.height, width=data.width)
    seen: dict[str, int] = {}
    with progress() as show:

        def count(recording: str, so_far: int) -> None:
            seen[recording] = so_far
            show("frames", sum(seen.values()), recordings * frames)

        ingest(source, reel, height=data.height, width=data.width, fps=data.fps, min_seconds=0, progress=count)


def _part(what: str, done: bool) -> bool:
    """Announce a part; whether there is anything to do."""
    say(f"{what}: done before" if done else what)
    return not done


def _took(what: str, started: float) -> None:
    say(f"{what} took {duration(time.monotonic() - started)}")
