"""A run: the stages of a recipe in order, in one folder, each skipped when it is done and resumed when it was cut short."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from roadcast.config import ComputeConfig, Config, GuardConfig, StageConfig, load_config
from roadcast.data.augment import Augment
from roadcast.data.loading.latents import LatentReel, cache_latents
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.files import disk_trouble_told, replacing
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.objectives import Objective, build_objective
from roadcast.overlay import first_difference
from roadcast.parallel.remat import apply_remat
from roadcast.training.metrics import JsonLog, Logger
from roadcast.training.scenes import save_scenes
from roadcast.training.trainer import fit

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with (what is being done, steps done, steps in all, latest figures)."""

VALIDATION_BATCHES = 8


def train(
    config: Config,
    folder: Path,
    *,
    report: Report,
    trackers: Callable[[Path], list[Logger]] = lambda folder: [],
    device: str = "cpu",
) -> Path:
    """Train every stage of `config.train` on the reels of `config.data`; returns the folder of the finished world.

    folder  RUN/config.json, RUN/<stage>/{log.jsonl, state/, world/}, RUN/latents*, and at the end RUN/world
    Raises `UserError` when a reel's size or rate is not the model's, or the run was begun with another configuration.
    """
    folder = Path(folder)
    check_served(config)
    reels = [Reel(path) for path in config.data.mixture or [config.data.reel]]
    for reel in reels:
        check_reel(reel, config)
    for stage in config.train.values():
        Augment(stage.augment, config.seed)  # a name that is wrong is told before hours of another stage
    with disk_trouble_told(folder, "and start the same training again: it goes on from the last state saved"):
        begin(config, folder)
        torch.manual_seed(config.seed)
        world = World(config).to(device)
        for name, stage in config.train.items():
            done = folder / name / "world"
            if not done.exists():
                train_stage(world, name, stage, reels, folder, report, trackers)
                with replacing(done) as beside:
                    world.save(beside)
            world = World.load(done, device)
        if not (folder / "world").exists():
            with replacing(folder / "world") as beside:
                world.save(beside)
                save_scenes(beside, reels[0], config)
    return folder / "world"


def train_stage(
    world: World,
    name: str,
    stage: StageConfig,
    reels: list[Reel],
    folder: Path,
    report: Report,
    trackers: Callable[[Path], list[Logger]],
) -> None:
    """Train one stage in `folder`/`name`."""
    config = world.config
    objective = build_objective(stage.objective, world, stage.options)
    apply_remat(objective.trained, stage.remat)
    latents = None
    if objective.reads == "latents" and config.tokenizer.time_stride == 1 and not stage.augment:
        latents = [latents_of_reel(world, reel, folder / latents_name(n), report) for n, reel in enumerate(reels)]
    lengths = stage.curriculum or [(0, stage.clip_frames)]
    weights = list(config.data.mixture.values())

    def clips(split: str, chosen: list[int], frames: Sequence[tuple[int, int]]) -> Clips:
        return Clips(
            [reels[n] for n in chosen], split, frames, stage.batch, config.dynamics.actions, config.seed,
            weights=[weights[n] for n in chosen] if weights else None,
            latents=[latents[n] for n in chosen] if latents else None,
        )  # fmt: skip

    longest = max(frames for _, frames in lengths)
    judging = [n for n, r in enumerate(reels) if any(v.split == "val" and v.frames >= longest for v in r.videos)]
    training, stage_folder = clips("train", list(range(len(reels))), lengths), folder / name
    held_out = clips("val", judging, [(0, longest)]) if judging else None
    fit(
        objective, stage, training, stage_folder / "state",
        augment=Augment(stage.augment, config.seed, actions=config.dynamics.actions, cameras=tuple(reels[0].cameras[:1])),
        seed=config.seed, workers=config.data.workers,
        loggers=lambda step: [JsonLog(stage_folder / "log.jsonl", step), *trackers(stage_folder)],
        progress=lambda done, total, latest: report(name, done, total, latest),
        validate=lambda: validation_loss(objective, held_out) if held_out else {},
    )  # fmt: skip
    objective.finish(training[step] for step in range(VALIDATION_BATCHES * 4))


def latents_name(reel: int) -> str:
    """The folder, in a run's, of the latent cache of reel number `reel`."""
    return "latents" if reel == 0 else f"latents-{reel}"


def validation_loss(objective: Objective, clips: Clips) -> dict[str, float]:
    """The objective's terms on fixed batches of held-out clips with fixed noise, names prefixed by `val_`."""
    device, sums = next(objective.trained.parameters()).device, {}
    for batch in range(VALIDATION_BATCHES):
        loss, terms = objective.loss(clips[batch].to(device), torch.Generator().manual_seed(batch))
        for key, value in ({"loss": loss} | terms).items():
            sums[f"val_{key}"] = sums.get(f"val_{key}", 0.0) + float(value) / VALIDATION_BATCHES
    return sums


def latents_of_reel(world: World, reel: Reel, path: Path, report: Report) -> LatentReel:
    """The latent cache of `reel` at `path`, made when it is not there yet."""
    digest = hashlib.sha256()
    for tensor in world.tokenizer.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    key = f"{reel.fingerprint}-{digest.hexdigest()}"
    return cache_latents(
        reel,
        world.tokenizer,
        Stream,
        path,
        key,
        lambda done, total: report("latents", done, total, {}),
        world.device,
    )


def check_served(config: Config) -> None:
    """Raise `UserError` for a setting that the loop does not read yet: it would be passed over without a word."""
    sections = {"guard": (config.guard, GuardConfig()), "compute": (config.compute, ComputeConfig())}
    for name, (section, default) in sections.items():
        if (change := first_difference(asdict(default), asdict(section), f"{name}.")) is not None:
            raise UserError(f"{change}: training does not serve this setting yet; leave it as it was")
    for name, stage in config.train.items():
        for key in ("losses", "optimizer", "schedule", "cooldown", "keep_best", "patience"):
            if (value := getattr(stage, key)) != getattr(StageConfig(), key):
                raise UserError(
                    f"train.{name}.{key} = {value!r}: training does not serve this setting yet; leave it at {getattr(StageConfig(), key)!r}"
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


def begin(config: Config, folder: Path) -> None:
    """Write the run's configuration, or hold it against the one the run was begun with."""
    path = folder / "config.json"
    if path.exists():
        if (change := first_difference(load_config(path).to_dict(), config.to_dict())) is not None:
            raise UserError(
                f"{folder}: was begun with another configuration ({change}); choose another folder, or the same settings"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        config.save(beside)
