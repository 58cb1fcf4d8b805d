"""`roadcast distil`."""

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from roadcast.cli.console import progress, say, show_table
from roadcast.cli.device import checked
from roadcast.cli.evaluate import lookers
from roadcast.cli.folders import world_folder
from roadcast.cli.train import run_training, speaks
from roadcast.config import load_config, override
from roadcast.errors import UserError


def distil(
    run: Path,
    /,
    *,
    steps: str = "4,2,1",
    method: Literal["self_forcing", "consistency", "shortcut", "mean_flow"] = "self_forcing",
    out: Path | None = None,
    reel: Path | None = None,
    training_steps: int = 1000,
    teacher_steps: int = 64,
    judge: Path | None = None,
    lpips_weights: tuple[str, ...] = (),
    fvd_weights: str | None = None,
    split: str = "val",
    clips: int = 64,
    context: int = 16,
    horizon: int = 64,
    set_: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")] = (),
    device: str = "cpu",
) -> None:
    """Take a trained world down to few network passes a frame, and tell what each rung costs and buys.

    Examples:
      roadcast distil runs/mine
      roadcast distil runs/mine --steps 4,1 --training-steps 3000 --judge runs/features --device cuda
      torchrun --nproc-per-node 8 -m roadcast distil runs/mine --device cuda --set compute.shard=8

    Each rung is a stage of Self-Forcing that begins with the trained world: it imagines real clips on by itself, in that many passes, and
    is moved until what it makes is, in distribution, what really came. Then every rung is measured on held-out recordings beside the
    world as it was, in many passes and in as few. Stopped or killed, the same command goes on.

    Args:
        run: The trained run's folder, or a world's.
        steps: Passes a frame of each rung, falling.
        method: How; all but self_forcing are for comparison.
        out: Folder of the ladder: a run like any other, with ladder.md, ladder.json and each rung's evaluation; RUN/ladder when not given.
        reel: The reel to learn from and to judge by; the run's own when not given.
        training_steps: Steps of training for each rung.
        teacher_steps: Passes a frame of the world as it was, for comparison.
        judge: Run of recipes/features.toml or recipes/judge.toml: Frechet distances are in its features, and it reads steering back.
        lpips_weights: LPIPS's published heads and back-bone; without them there is no LPIPS.
        fvd_weights: I3D's published weights; without them there is no FVD.
        split: Recordings to judge by.
        clips: Clips to judge by.
        context: Real frames given.
        horizon: Frames imagined.
        set_: Changes to single settings, by dotted name, such as train.self_forcing_4.lr=1e-4.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    from roadcast.training.ladder import ladder

    world = world_folder(run)
    try:
        passes = [int(part) for part in steps.split(",")]
    except ValueError:
        raise UserError(f"--steps {steps}: give numbers of passes, for example 4,2,1") from None
    config = ladder(world, load_config(world / "config.json"), passes, training_steps, method)
    if reel is not None:
        config.data.reel, config.data.mixture = str(reel), {}
    config = override(config, list(set_))
    out = out or run / "ladder"
    last = run_training(config, out, checked(device))
    if not speaks():
        return

    from roadcast.data.reel.store import Reel
    from roadcast.evaluation.ladder import Rung, climb, markdown, summary, table

    rungs = [Rung(f"{teacher_steps}", world, teacher_steps)]
    rungs += [Rung(f"{n}, not distilled", world, n) for n in passes]
    rungs += [
        Rung(f"{n}, {method.replace('_', '-')}", out / name / "world", n) for n, name in zip(passes, config.train)
    ]
    eyes = lookers(judge=judge, lpips_weights=lpips_weights, fvd_weights=fvd_weights, device=checked(device))
    settings = {"split": split, "clips": clips, "context": context, "horizon": horizon, **eyes}
    judged_by = Reel(Path(next(iter(config.data.mixture), config.data.reel)))
    with progress() as show:
        figures = climb(rungs, judged_by, out / "rungs", checked(device), progress=show, **settings)
    rows = table({name: [row] for name, row in figures.items()}, horizon)
    (out / "ladder.md").write_text(markdown(rows))
    told = {"rungs": figures}
    if judge is not None:
        told = summary([figures[rungs[0].name]], [figures[rungs[-1].name]]) | told
    (out / "ladder.json").write_text(json.dumps(told, indent=1) + "\n")
    show_table(rows)
    say(f"the world of {passes[-1]} passes is {last}; the ladder is {out / 'ladder.md'}")
