"""A run: the stages of a recipe in order, in one folder, each skipped when it is done and resumed when it was cut short."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from roadcast.config import Config, StageConfig, load_config
from roadcast.data.augment import Augment
from roadcast.data.loading.latents import LatentReel, cache_latents
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.files import disk_trouble_told, replacing
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.objectives import Objective, build_objective
from roadcast.objectives.base import OBJECTIVES, Stored
from roadcast.overlay import first_difference
from roadcast.parallel.engine import Engine
from roadcast.parallel.mesh import Mesh, join, leave
from roadcast.parallel.precision import dtype_for
from roadcast.plugins import look_up
from roadcast.safetensors import sha256_of
from roadcast.training.feed import Feed
from roadcast.training.hooks import Hooks
from roadcast.training.memory import longest_clip
from roadcast.training.metrics import Log, Logger
from roadcast.training.record import read_record, write_record
from roadcast.training.report import write_report
from roadcast.training.rollouts import cached_rollouts
from roadcast.training.samples import Sample
from roadcast.training.scenes import save_scenes
from roadcast.training.trainer import fit

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with (what is being done, steps done, steps in all, latest figures)."""

VALIDATION_BATCHES = 8


@dataclass(frozen=True)
class Run:
    """What all stages of a run share.

    report    of how far the work has come;  tell  of what happened, in sentences
    trackers  what gives a stage's folder its loggers beyond JSON lines
    """

    config: Config
    folder: Path
    reels: Sequence[Reel]
    mesh: Mesh
    dtype: torch.dtype
    report: Report
    tell: Callable[[str], None]
    trackers: Callable[[Path], list[Logger]]


def train(
    config: Config,
    folder: Path,
    *,
    report: Report,
    tell: Callable[[str], None] = print,
    trackers: Callable[[Path], list[Logger]] = lambda folder: [],
    device: str = "cpu",
) -> Path:
    """Train every stage of `config.train` on the reels of `config.data`; returns the folder of the finished world.

    folder  RUN/{config.json, record.json, report.html}, RUN/<stage>/{log.jsonl, events.jsonl, samples/, state/, world/},
            RUN/latents*, and at the end RUN/world
    device  of this process: cpu, cuda or cuda:N. Started by torchrun, all processes train together, as `config.compute` says
    Raises `UserError` when a reel's size or rate is not the model's, or the run was begun with another configuration.
    """
    folder = Path(folder)
    reels = [Reel(path) for path in config.data.mixture or [config.data.reel]]
    for reel in reels:
        check_reel(reel, config)
    for name, stage in config.train.items():  # a name that is wrong is told before hours of another stage
        Augment(stage.augment, config.seed)
        look_up("objective", stage.objective, OBJECTIVES).settings(stage.options)
        if stage.from_start and not config.start:
            raise UserError(f"train.{name}.from_start = true, and start names no world; give start = RUN/world")
    Hooks(config.compute.hooks, folder, "", lambda step, values: None)
    mesh = join(config.compute, device)
    try:
        with disk_trouble_told(folder, "and start the same training again: it goes on from the last state saved"):
            begin(config, folder, mesh)
            run = Run(config, folder, reels, mesh, precision(config, folder, reels, mesh), report, tell, trackers)
            for name, stage in config.train.items():
                if not (folder / name / "world").exists():
                    finished = train_stage(run, name, stage, lambda name=name: world_before(name, run))
                    if finished is not None:
                        with replacing(folder / name / "world") as beside:
                            finished.save(beside)
                        write_report(folder)
                mesh.barrier()
            if mesh.main and not (folder / "world").exists():
                world = world_before(None, run)
                with replacing(folder / "world") as beside:
                    world.save(beside)
                    save_scenes(beside, reels[0], config)
            mesh.barrier()
    finally:
        leave()
    return folder / "world"


def world_before(name: str | None, run: Run) -> World:
    """The world that stage `name` begins with, on the run's device; after all stages where that is None."""
    stages = [*run.config.train, None]
    anew = name is not None and run.config.train[name].from_start
    if (earlier := stages.index(name)) > 0 and not anew:
        return World.load(run.folder / str(stages[earlier - 1]) / "world", str(run.mesh.device))
    torch.manual_seed(run.config.seed)
    world = World(run.config)
    if run.config.start:
        world.take_over(World.load(Path(run.config.start)))
    return world.to(run.mesh.device)


def train_stage(run: Run, name: str, stage: StageConfig, fresh: Callable[[], World]) -> World | None:
    """Train one stage in RUN/`name`, and return the finished world on the main process.

    fresh  makes the world that the stage begins with, the same each time
    """
    config, mesh, folder = run.config, run.mesh, run.folder / name
    objective = build_objective(stage.objective, fresh(), stage.options, stage.losses)
    latents = None
    if objective.reads == "latents" and config.tokenizer.time_stride == 1 and not stage.augment:
        latents = cached_latents(run, objective.world)
    drifted = stored_rollouts(run, name, objective.world, objective.stored, latents) if objective.stored else None
    clips = Drawn(run, stage, latents, drifted)
    held_out, log = clips.held_out(), Log(folder, lambda: run.trackers(folder), run.tell, speaks=mesh.main)
    filmed = objective.makes and clips.judging and mesh.main
    sample = Sample(clips.judging[0], config, objective.makes) if filmed else None
    cameras = tuple(run.reels[0].cameras[:1])
    augment = Augment(stage.augment, config.seed, actions=config.dynamics.actions, cameras=cameras)

    def finished(weights: dict[str, torch.Tensor]) -> Objective:
        """The objective over a world with what was trained in its place."""
        done = build_objective(stage.objective, fresh(), stage.options, stage.losses)
        done.trained.load_state_dict(weights)
        done.world.eval()
        return done

    def show(step: int, weights: dict[str, torch.Tensor]) -> None:
        film = sample.film(finished(weights).world) if sample else None
        if film is not None:
            log.video(step, "imagined" if objective.makes == "latents" else "reconstructed", film, config.data.fps)

    weights = fit(
        objective, stage, config, mesh, run.dtype,
        Feed(clips.training(mesh), augment, stage, config.guard, mesh, seed=config.seed, workers=config.data.workers),
        folder, log,
        validate=lambda engine: held_out_terms(engine, held_out, mesh) if held_out else {},
        show=show,
        progress=lambda done, total, latest: run.report(name, done, total, latest),
    )  # fmt: skip
    if weights is None:
        return None
    done, some = finished(weights), clips.training(Mesh(mesh.device))
    done.finish(some[step] for step in range(VALIDATION_BATCHES * 4))
    return done.world


class Drawn:
    """The clips of a stage."""

    def __init__(
        self, run: Run, stage: StageConfig, latents: list[LatentReel] | None, drifted: list[LatentReel] | None
    ):
        self.config, self.reels, self.stage, self.latents, self.drifted = run.config, run.reels, stage, latents, drifted
        self.lengths = stage.curriculum or ((0, stage.clip_frames),)
        self.longest = longest_clip(stage)
        self.judging = [r for r in run.reels if any(v.split == "val" and v.frames >= self.longest for v in r.videos)]

    def training(self, mesh: Mesh) -> Clips:
        """A data rank's of those to learn from, batch after batch; the curriculum, told in steps, is one of these batches too."""
        share = self.stage.accumulate // mesh.data_ranks
        lengths = [(step * share, frames) for step, frames in self.lengths]
        return self._clips("train", self.reels, lengths, self.drifted, rank=mesh.data_rank, ranks=mesh.data_ranks)

    def held_out(self) -> Clips | None:
        """Those to judge by, as long as any are trained on; None where there are none."""
        return self._clips("val", self.judging, [(0, self.longest)]) if self.judging else None

    def _clips(
        self, split: str, reels: Sequence[Reel], lengths: list[tuple[int, int]], drifted: list[LatentReel] | None = None,
        **ranks: int,
    ) -> Clips:  # fmt: skip
        chosen = [n for n, reel in enumerate(self.reels) if reel in reels]
        weights = list(self.config.data.mixture.values())
        return Clips(
            reels, split, lengths, self.stage.batch, self.config.dynamics.actions, self.config.seed,
            weights=[weights[n] for n in chosen] if weights else None,
            latents=[self.latents[n] for n in chosen] if self.latents else None, drifted=drifted, **ranks,
        )  # fmt: skip


def held_out_terms(engine: Engine, clips: Clips, mesh: Mesh) -> dict[str, float]:
    """The objective's terms on fixed batches of held-out clips with fixed noise, names prefixed by `val_`."""
    sums: dict[str, torch.Tensor] = {}
    for batch in range(VALIDATION_BATCHES):
        terms = engine.evaluate(clips[batch].to(mesh.device), torch.Generator().manual_seed(batch))
        for key, value in terms.items():
            sums[key] = sums.get(key, 0.0) + value.double() / VALIDATION_BATCHES
    means = mesh.mean(torch.stack([*sums.values()])).tolist()
    return {f"val_{key}": value for key, value in zip(sums, means, strict=True)}


def cached_latents(run: Run, world: World) -> list[LatentReel]:
    """The latent cache of every reel, which the main process makes where it is not there yet."""

    def cache() -> list[LatentReel]:
        return [
            latents_of_reel(world, reel, run.folder / latents_name(n), run.report) for n, reel in enumerate(run.reels)
        ]

    return main_first(run.mesh, cache)


def stored_rollouts(
    run: Run, stage: str, world: World, stored: Stored, latents: list[LatentReel] | None
) -> list[LatentReel]:
    """What the world imagined of every reel, which the main process makes, from the cache of true latents, where it is not there yet."""
    if latents is None:
        raise UserError(
            f"train.{stage}.options.stored = {stored.depth} goes on from the cached latents of the recordings, and this stage makes its "
            f"own as clips are read; set tokenizer.time_stride = 1 and no train.{stage}.augment, or stored = 0"
        )

    def cache() -> list[LatentReel]:
        names = ["rollouts" if n == 0 else f"rollouts-{n}" for n in range(len(run.reels))]
        return [
            cached_rollouts(
                world, reel, true, run.folder / stage / name, stored, run.config.seed,
                lambda done, total: run.report("rollouts", done, total, {}),
            )
            for reel, true, name in zip(run.reels, latents, names, strict=True)
        ]  # fmt: skip

    return main_first(run.mesh, cache)


def main_first(mesh: Mesh, cache: Callable[[], list[LatentReel]]) -> list[LatentReel]:
    """What `cache` gives, called on the main process before the others, which then find it made."""
    made = cache() if mesh.main else []
    mesh.barrier()
    return made or cache()


def latents_name(reel: int) -> str:
    """The folder, in a run's, of the latent cache of reel number `reel`."""
    return "latents" if reel == 0 else f"latents-{reel}"


def latents_of_reel(world: World, reel: Reel, path: Path, report: Report) -> LatentReel:
    """The latent cache of `reel` at `path`, made when it is not there yet."""
    key = f"{reel.fingerprint}-{sha256_of(world.tokenizer.state_dict().values())}"
    return cache_latents(
        reel,
        world.tokenizer,
        Stream,
        path,
        key,
        lambda done, total: report("latents", done, total, {}),
        world.device,
    )


def check_reel(reel: Reel, config: Config) -> None:
    """Raise `UserError` unless the reel's frames are those the model is made for."""
    for name in ("height", "width", "fps"):
        ours, theirs = getattr(config.data, name), getattr(reel, name)
        if ours != theirs:
            raise UserError(
                f"{reel.path}: the reel has {name} {theirs} and the recipe data.{name} = {ours}; "
                f"ingest again with --{name} {ours}, or set data.{name}={theirs}"
            )


def begin(config: Config, folder: Path, mesh: Mesh) -> None:
    """Write the run's configuration, or hold it against the one the run was begun with.

    What does not change what is computed, and what is there to be changed when a run has stopped, may be another one: the sections
    `compute` and `guard`, and `data.workers`.
    """
    path = folder / "config.json"
    if path.exists():
        begun = load_config(path)
        now = replace(
            config, compute=begun.compute, guard=begun.guard, data=replace(config.data, workers=begun.data.workers)
        )
        if (change := first_difference(begun.to_dict(), now.to_dict())) is not None:
            raise UserError(
                f"{folder}: was begun with another configuration ({change}); choose another folder, or the same settings"
            )
    mesh.barrier()
    if mesh.main:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            config.save(beside)
    mesh.barrier()


def precision(config: Config, folder: Path, reels: Sequence[Reel], mesh: Mesh) -> torch.dtype:
    """What products are computed in: as configured, or, for "auto", as the run's record says it was chosen when the run began."""
    asked, record = config.compute.precision, read_record(folder)
    if asked == "auto":
        asked = record["precision"] if record else str(dtype_for("auto", mesh.device)).removeprefix("torch.")
    (asked, *_) = mesh.gather(asked)
    if mesh.main:
        write_record(folder, reels, config.seed, asked, mesh.ranks)
    return dtype_for(asked, mesh.device)
