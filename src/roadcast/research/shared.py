"""Stages that the runs of a study share: trained once, and put under each run as if it had trained them itself."""

from dataclasses import replace
from pathlib import Path

import torch

from roadcast.config import Config
from roadcast.data.reel.store import Reel
from roadcast.files import replacing
from roadcast.flow.world import World
from roadcast.objectives.base import OBJECTIVES
from roadcast.plugins import look_up
from roadcast.training.run import Report, latents_name, latents_of_reel


def shared_part(config: Config, stages: tuple[str, ...]) -> Config:
    """The configuration that `stages` of a run are trained by; what does not matter to them is as by default.

    Two runs whose parts are equal share these stages. Those that read frames leave the dynamics alone: then neither these matter, but
    for the actions they know, nor the path of noise.
    """
    fresh = Config()
    part = replace(
        config, train={name: config.train[name] for name in stages}, compute=fresh.compute, guard=fresh.guard
    )
    if not frames_alone(config, stages):
        return part
    return replace(part, dynamics=replace(fresh.dynamics, actions=config.dynamics.actions), flow=fresh.flow)


def frames_alone(config: Config, stages: tuple[str, ...]) -> bool:
    """Whether all of these stages read frames, as those do that train the tokenizer or networks that look at video."""
    objectives = [look_up("objective", config.train[name].objective, OBJECTIVES) for name in stages]
    return all(objective.reads == "frames" for objective in objectives)


def keep_latents(world: World, folder: Path, reel: Reel, report: Report) -> None:
    """Encode the reel once for all runs, into the folder of the shared stages."""
    if world.config.tokenizer.time_stride == 1:
        latents_of_reel(world, reel, folder / latents_name(0), report)


def begin_after(shared: Path, folder: Path, config: Config, stages: tuple[str, ...]) -> None:
    """Make the run in `folder` one whose first `stages` are done: by the run in `shared`, whose latents it reads too.

    What these stages did not train is drawn from the seed of `config`, as it would be in a run of its own.
    """
    torch.manual_seed(config.seed)
    world, learnt = World(config), World.load(shared / "world")
    own = {"dynamics"} if frames_alone(config, stages) else set()
    for name, part in world.named_children():
        if name not in own:
            part.load_state_dict(learnt.get_submodule(name).state_dict())
    for name in stages:
        if not (folder / name / "world").exists():
            with replacing(folder / name / "world") as beside:
                world.save(beside)
    cache, link = shared / latents_name(0), folder / latents_name(0)
    if cache.exists() and not link.exists():
        link.symlink_to(cache.resolve(), target_is_directory=True)
