"""The distillation ladder: every way down from one trained world, three seeds each, measured by one protocol.

    python benchmarks/ladder.py run OUT --world RUN/world --test REEL [--features WORLD] [--judge WORLD] [--seeds 0 1 2] [--steps 300]
    python benchmarks/ladder.py tell OUT [OUT ...] --to docs/results/ladder
    python benchmarks/ladder.py --quick

`run` takes the world down to 1 pass a frame by Self-Forcing, once a seed, as `roadcast distil` has it, and to 4 and 2 for --rungs of the
seeds; for --frozen of them with a frozen teacher, in three times the steps; and for --rivals to 4 by consistency distillation and by
shortcuts. It measures each beside the world as it was in 64, 4 and 1 passes, which has no seed but the noise: --undistilled of them.
Stopped, the same command goes on. `tell` writes TO.json, and the tables of TO.md, from one such folder a data set; the keys of TO.json are
those of the first. The last line printed is one JSON object of the figures.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from harness import commit

from roadcast.cli.evaluate import lookers
from roadcast.config import Config, load_config, override
from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.evaluation.extractors import jepa_extractor
from roadcast.evaluation.ladder import Rung, climb, markdown, summary, table
from roadcast.presets import preset_config
from roadcast.training.ladder import ladder
from roadcast.training.run import train


@dataclass(frozen=True)
class Way:
    """A way down: what tables call it, the objective, the passes of its rungs, how many times the usual steps each is trained for, and
    options of the objective beside those that `ladder` sets."""

    name: str
    method: str
    passes: tuple[int, ...]
    times: int = 1
    options: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return self.name.replace(",", "").replace(" ", "_").replace("-", "_")


SELF_FORCING = Way("self-forcing", "self_forcing", (4, 2, 1), times=2)
FROZEN = Way("self-forcing, teacher frozen", "self_forcing", (1,), times=6, options={"teacher_learns": 0})
RIVALS = (Way("consistency", "consistency", (4,)), Way("shortcut", "shortcut", (4,)))
TEACHER, NAIVE = 64, (4, 1)
ONE_STEP = tuple(f"1, {way.name}" for way in (FROZEN, SELF_FORCING))
MARK = "<!-- below: python benchmarks/ladder.py tell -->\n"


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            told = quick(Path(folder))
    elif args.command == "run":
        told = climb_all(args)
    elif args.command == "tell":
        told = write(args.outs, args.to)
    else:
        parser.error("give run, tell or --quick")
    print(json.dumps(told))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run")
    run.add_argument("out", type=Path)
    run.add_argument("--world", type=Path, required=True)
    run.add_argument("--test", type=Path, required=True)
    run.add_argument("--split", default="test")
    run.add_argument("--features", type=Path)
    run.add_argument("--judge", type=Path)
    run.add_argument("--lpips-weights", nargs="+", default=())
    run.add_argument("--fvd-weights")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--rungs", type=int, default=3, help="seeds that Self-Forcing is gone to 4 and 2 passes with")
    run.add_argument(
        "--frozen", type=int, default=3, help="seeds that Self-Forcing is gone with by a frozen teacher, too"
    )
    run.add_argument("--rivals", type=int, default=3, help="seeds that ways other than Self-Forcing are gone with")
    run.add_argument("--undistilled", type=int, default=1, help="seeds that the world as it was is measured with")
    run.add_argument("--steps", type=int, default=300)
    run.add_argument(
        "--recovery", type=float, default=1.0, help="share of clips in which the teacher learns to lead back from drift"
    )
    run.add_argument("--clips", type=int, default=48)
    run.add_argument("--context", type=int, default=16)
    run.add_argument("--horizon", type=int, default=64)
    run.add_argument("--compile", action="store_true", help="train by torch.compile: 1.4 times as fast on a CPU")
    run.add_argument("--device", default="cpu")
    tell = commands.add_parser("tell")
    tell.add_argument("outs", type=Path, nargs="+")
    tell.add_argument("--to", type=Path, required=True)
    return parser


def climb_all(args: argparse.Namespace) -> dict[str, float]:
    """Train and measure all rungs of all seeds; OUT/ladder.json keeps the figures of each seed and the protocol."""
    config = load_config(args.world / "config.json")
    reel = Reel(args.test)
    eyes = lookers(lpips_weights=tuple(args.lpips_weights), fvd_weights=args.fvd_weights, device=args.device)
    if args.features:
        eyes["extractors"].append(jepa_extractor(args.features, args.device))
    settings = eyes | {
        "split": args.split, "clips": args.clips, "context": args.context, "horizon": args.horizon, "judge": args.judge,
    }  # fmt: skip
    figures: dict[str, list[dict[str, float]]] = {}
    for n, seed in enumerate(args.seeds):
        rungs = []
        if n < args.undistilled:
            rungs = [Rung(str(TEACHER), args.world, TEACHER)]
            rungs += [Rung(f"{passes}, not distilled", args.world, passes) for passes in NAIVE]
        for way in ways(args, n):
            folder = args.out / f"seed{seed}" / way.folder
            down = ladder(args.world, config, way.passes, way.times * args.steps, way.method)
            stages = {
                name: replace(stage, options={**stage.options, **way.options}) for name, stage in down.train.items()
            }
            down = replace(down, train=stages, seed=seed, compute=replace(down.compute, compile=args.compile))
            train(down, folder, report=report, device=args.device)
            rungs += [
                Rung(f"{passes}, {way.name}", folder / f"{way.method}_{passes}" / "world", passes)
                for passes in way.passes
            ]
        told = climb(rungs, reel, args.out / f"seed{seed}" / "rungs", args.device, seed=1000 * seed, **settings)
        for name, row in told.items():
            figures.setdefault(name, []).append(row)
        kept = {"protocol": protocol(args, config, reel) | {"seeds": args.seeds[: n + 1]}, "rungs": figures}
        (args.out / "ladder.json").write_text(json.dumps(kept, indent=1) + "\n")
    return headline(figures)


def ways(args: argparse.Namespace, n: int) -> list[Way]:
    """The ways that are gone with the n-th seed."""
    passes = SELF_FORCING.passes if n < args.rungs else (1,)
    learning = replace(SELF_FORCING, passes=passes, options={"recovery": args.recovery})
    return [learning, *([FROZEN] if n < args.frozen else ()), *(RIVALS if n < args.rivals else ())]


def report(task: str, done: int, total: int, figures: dict[str, float]) -> None:
    if done % 50 == 0:
        print(f"{task} {done}/{total} {figures.get('loss', 0):.3f}", flush=True)


def protocol(args: argparse.Namespace, config: Config, reel: Reel) -> dict[str, object]:
    """What the figures depend on."""
    return {
        "test": reel.fingerprint, "source": json.loads((args.test / "reel.json").read_text())["origin"]["source"],
        "split": args.split, "clips": args.clips, "context": args.context, "horizon": args.horizon,
        "training_steps": args.steps, "recovery": args.recovery, "width": config.dynamics.width, "depth": config.dynamics.depth,
        "size": [config.data.height, config.data.width], "commit": commit(), "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads" if args.device == "cpu" else torch.cuda.get_device_name(),
    }  # fmt: skip


def headline(figures: dict[str, list[dict[str, float]]], one_step: str = ONE_STEP[0]) -> dict[str, float]:
    """The ratios that the ladder is judged by; nothing where one of the two rungs was not gone, or without Frechet distances."""
    teacher, one = figures.get(str(TEACHER)), figures.get(one_step)
    return summary(teacher, one) if teacher and one and "frechet_8" in teacher[0] else {}


def write(outs: Sequence[Path], to: Path) -> dict[str, float]:
    """TO.json, and the tables of TO.md, below MARK; what a person wrote above it stays."""
    kept = {out.name: json.loads((out / "ladder.json").read_text()) for out in outs}
    first = next(iter(kept.values()))
    told = headline(first["rungs"])
    by_data = {
        name: {"summary": {way: ratios for way in ONE_STEP if (ratios := headline(one["rungs"], way))}, **one}
        for name, one in kept.items()
    }
    to.with_suffix(".json").write_text(
        json.dumps({**told, "protocol": first["protocol"], "data": by_data}, indent=1) + "\n"
    )
    parts = []
    for name, one in kept.items():
        facts = ", ".join(f"{key} {value}" for key, value in one["protocol"].items() if key != "test")
        parts.append(f"## {name}\n\n{markdown(table(one['rungs'], one['protocol']['horizon']))}\n{facts}.\n")
    page = to.with_suffix(".md")
    above = page.read_text().partition(MARK)[0] if page.exists() else ""
    page.write_text(above + MARK + "\n" + "\n".join(parts))
    return told


def quick(folder: Path) -> dict[str, float]:
    """All of it on a world of a few thousand weights, at a size that says nothing but that it runs."""
    config = override(preset_config("tiny"), QUICK)
    size = f"height={config.data.height},width={config.data.width}"
    ingest(f"toyroad:recordings=4,frames=40,weather=clear,{size}", folder / "reel", split="train", **SIZE)
    ingest(f"toyroad:recordings=4,frames=40,weather=clear,seed=1,{size}", folder / "test", split="test", **SIZE)
    config.data.reel = str(folder / "reel")
    train(config, folder / "run", report=report)
    world = folder / "run" / "world"
    few = "--seeds 0 --steps 2 --clips 4 --context 4 --horizon 8".split()
    where = [f"--world={world}", f"--test={folder / 'test'}", f"--features={world}"]
    climb_all(arguments().parse_args(["run", str(folder / "toyroad"), *where, *few]))
    return write([folder / "toyroad"], folder / "ladder")


SIZE = {"height": 32, "width": 64}
QUICK = [
    "data.height=32", "data.width=64", "tokenizer.widths=[8, 16, 16]", "tokenizer.decoder_widths=[]", "tokenizer.latent_channels=8",
    "dynamics.width=32", "dynamics.depth=2", "dynamics.time_every=2", "dynamics.heads=4", "dynamics.kv_heads=2",
    "dynamics.context_frames=8",
    "features.depth=1", "features.width=32", "features.heads=2",
    "train.tokenizer.steps=4", "train.dynamics.steps=4", "train.dynamics.clip_frames=16",
]  # fmt: skip


if __name__ == "__main__":
    main()
