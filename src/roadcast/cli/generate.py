"""`roadcast generate`."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from roadcast.cli.console import progress, say
from roadcast.cli.folders import world_folder
from roadcast.cli.mp4 import write_video
from roadcast.errors import UserError

if TYPE_CHECKING:
    from roadcast.serving.session import ModelSession

SINE_AMPLITUDE, SINE_PERIOD_S = 0.5, 4.0


def generate(
    world: Path,
    out: Path,
    /,
    scene: int = 0,
    seed: int = 0,
    frames: int = 200,
    steer: str = "sine",
    throttle: float | None = None,
    steps: int | None = None,
    enlarge: int = 1,
) -> None:
    """Drive a world by a script and write what it shows as a video.

    Examples:
      roadcast generate runs/mine left.mp4 --steer 0.3 --frames 100
      roadcast generate runs/mine slalom.mp4 --steer sine --scene 2 --enlarge 4
      roadcast generate runs/mine replay.mp4 --steer commands.csv

    The same world, scene, seed and script give the same frames. Controls that the script does not name keep the value
    they had at the end of the scene.

    Args:
        world: A run's folder, or a world's.
        out: The video to write, a .mp4.
        scene: Which of the world's scenes to begin at; `roadcast info` lists them.
        seed: Of the world's chance.
        frames: Frames to imagine.
        steer: A number (positive left), `sine` (a slalom of 4 s), or a .csv with a head line of control names (steer,
            throttle, ...) and a row a frame, the last of which is held.
        throttle: Held throughout, unless the .csv has a column for it.
        steps: Network passes a frame; fewer are faster. The world's own number when not given.
        enlarge: Whole factor by which pictures are enlarged.
    """
    if out.suffix.lower() != ".mp4":
        raise UserError(f"{out}: the video is written as .mp4; give a name that ends so")
    for name, value in (("frames", frames), ("enlarge", enlarge)):
        if value < 1:
            raise UserError(f"--{name} {value}: give at least 1")
    from roadcast.serving.session import ModelSession

    session = ModelSession.open(world_folder(world), steps)
    session.reset(scene, seed)
    commands = script(session, scene, steer, throttle, frames)
    with progress() as show:
        write_video(out, drive_by(session, scene, seed, commands, show), session.fps, enlarge)
    say(f"{out}: {frames + 1} frames, {frames / session.fps:.1f} s from scene {scene} ({session.scenes[scene]})")


def script(
    session: "ModelSession", scene: int, steer: str, throttle: float | None, frames: int
) -> list[dict[str, float]]:
    """The command of every frame: the scene's last one, over which `throttle` and then `steer` are laid."""
    scenes = session.context
    last = zip(session.actions, scenes.actions_BFA[scene, -1].tolist(), scenes.known_BFA[scene, -1].tolist())
    held = {name: value for name, value, known in last if known}
    if throttle is not None:
        held |= _of_world(session, {"throttle": throttle}, "--throttle")
    if steer == "sine":
        angle = 2 * math.pi / (SINE_PERIOD_S * session.fps)
        rows = [{"steer": SINE_AMPLITUDE * math.sin(angle * f)} for f in range(frames)]
    elif steer.lower().endswith(".csv"):
        rows = read_commands(Path(steer))
    else:
        try:
            rows = [{"steer": float(steer)}]
        except ValueError:
            raise UserError(f"--steer {steer!r}: give a number, `sine`, or a .csv of commands") from None
    _of_world(session, rows[0], f"--steer {steer}")
    return [held | rows[min(f, len(rows) - 1)] for f in range(frames)]


def read_commands(path: Path) -> list[dict[str, float]]:
    """The rows of a .csv whose head line names controls; `UserError` for what is no finite number."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); give a .csv with a head line such as steer,throttle"
        ) from None
    if not rows:
        raise UserError(f"{path}: has no row of commands; write a head line such as steer,throttle and a row a frame")
    commands = []
    for line, row in enumerate(rows, start=2):
        try:
            command = {name: float(value) for name, value in row.items()}
        except (TypeError, ValueError):
            command = {}
        if not command or not all(map(math.isfinite, command.values())):
            raise UserError(
                f"{path}, line {line}: {', '.join(map(str, row.values()))!r} is not a number for each of {', '.join(map(str, row))}"
            )
        commands.append(command)
    return commands


def _of_world(session: "ModelSession", command: dict[str, float], where: str) -> dict[str, float]:
    for name, value in command.items():
        if name not in session.actions:
            raise UserError(f"{where}: the world has no control {name!r}; it has {', '.join(session.actions)}")
        if not math.isfinite(value):
            raise UserError(f"{where}: {name} = {value} is no command; give a finite number")
    return command


def drive_by(session: "ModelSession", scene: int, seed: int, commands: list[dict[str, float]], show) -> Iterator:
    """The scene's last frame, then the frame each command leads to."""
    yield session.reset(scene, seed)
    for done, command in enumerate(commands, start=1):
        yield session.step(command)
        show("frames", done, len(commands))
