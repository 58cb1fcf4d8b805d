"""Where the memory of training and of driving goes, counted without taking it.

The step that will be trained is run once on tensors that have shapes and no numbers (torch's FakeTensorMode), while the bytes
alive are counted (training/live_bytes.py). So the largest preset is counted on a laptop, in seconds, as the code that will run
has it: no formula has to keep up with the model.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from roadcast.config import Config, StageConfig
from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.objectives import Objective, build_objective
from roadcast.parallel.remat import apply_remat
from roadcast.training.ema import EMA
from roadcast.training.live_bytes import LiveBytes
from roadcast.training.optim import build_optimizers

CACHE_DTYPES = (torch.float32, torch.bfloat16, torch.int8)
NEEDS_NUMBERS = (
    "adversarial",
    "lpips",
)  # options that bring networks with numbers: weights from a file, a count of batches


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one training step of a stage.

    frozen       weights of the world that the stage does not train
    weights      those it trains, float32
    gradients    of them, whole at the end of the backward pass
    optimizer    both moments of AdamW, the one of Muon
    average      the moving average of the weights
    batch        the clips
    activations  what the forward pass leaves to the backward pass
    peak         the most alive at once in the whole step, all of the above that then is, and what operations work with
    """

    frozen: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    batch: int
    activations: int
    peak: int


@dataclass(frozen=True)
class DrivingMemory:
    """Bytes of driving one world.

    weights  of both networks, float32; shared by all sessions
    caches   keys and values of one session, by the type they are kept in
    stream   what the decoder remembers of a session
    scene    working memory of a session's beginning, a whole context at once, beyond weights and session
    frame    working memory of one frame, likewise
    """

    weights: int
    caches: dict[torch.dtype, int]
    stream: int
    scene: int
    frame: int


def stage_memory(config: Config, stage: StageConfig, dtype: torch.dtype = torch.float32) -> StageMemory:
    """The memory of one step of `stage`, the optimizer's moments already there.

    dtype  bfloat16: the forward pass under torch.autocast, weights and all else in float32
    Raises `UserError` for a stage with an option that works by numbers, for there are none.
    """
    for option in NEEDS_NUMBERS:
        if stage.options.get(option):
            raise UserError(
                f"option {option} = {stage.options[option]:g} of a stage needs numbers, and its memory is counted without any; "
                f"set {option} to 0 to count the rest"
            )
    with FakeTensorMode(), LiveBytes() as live:
        return count_stage(config, stage, dtype, live)


def count_stage(config: Config, stage: StageConfig, dtype: torch.dtype, live: LiveBytes) -> StageMemory:
    """What `stage_memory` does, on whatever tensors are made now: those without numbers, or real ones to check them by."""
    world = World(config)
    objective = build_objective(stage.objective, world, stage.options, stage.losses)
    apply_remat(objective.trained, stage.remat)
    model = objective.trained.train()
    optimizers, ema = build_optimizers(model, stage), EMA(model, stage.ema)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    before_clip = live.now
    clip = blank_clip(objective, stage, longest_clip(stage))
    before = live.now
    live.forget_peak()

    for _ in range(min(2, stage.accumulate)):  # from the second part on, the gradients of those before lie beside
        before_forward, generator = live.now, torch.Generator().manual_seed(0)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, terms = objective.loss(clip, generator)
        activations = live.now - before_forward
        loss.backward()
        del loss, terms
    torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
    for optimizer in optimizers:
        optimizer.step()
    ema.update(model)

    parameters = list(model.parameters())
    weights = size_of([*parameters, *model.buffers()])
    return StageMemory(
        frozen=size_of([*world.parameters(), *world.buffers(), *parameters, *model.buffers()]) - weights,
        weights=weights,
        gradients=size_of([p.grad for p in parameters]),
        optimizer=size_of([optimizer.state_dict()["state"] for optimizer in optimizers]),
        average=size_of(ema.average),
        batch=before - before_clip,
        activations=activations,
        peak=live.peak,
    )


def driving_memory(config: Config) -> DrivingMemory:
    """The memory of driving, the past as long as the model remembers and kept in float32."""
    with FakeTensorMode(), LiveBytes() as live, torch.no_grad():
        world, stride = World(config).eval(), config.tokenizer.time_stride
        rollout, stream, frames = world.rollout(), Stream(), config.dynamics.context_frames * stride
        pictures = torch.zeros(1, frames, world.height, world.width, 3, dtype=torch.uint8)
        actions = torch.zeros(1, frames + stride, len(world.actions))
        known = torch.ones_like(actions, dtype=torch.bool)

        live.forget_peak()
        z_BTHWC = world.tokenizer.encode(pictures)
        world.tokenizer.decode(z_BTHWC, stream)
        state = rollout.start(z_BTHWC, actions[:, :frames], known[:, :frames], [0])
        height, width = z_BTHWC.shape[2:4]
        del z_BTHWC
        scene = live.peak - live.now

        live.forget_peak()
        world.tokenizer.decode(rollout.step(state, actions[:, frames:], known[:, frames:]), stream)
        frame = live.peak - live.now
        return DrivingMemory(
            weights=size_of([*world.parameters(), *world.buffers()]),
            caches={t: size_of(world.dynamics.empty_history(1, height, width, t).cache) for t in CACHE_DTYPES},
            stream=size_of(stream.past),
            scene=scene,
            frame=frame,
        )


def longest_clip(stage: StageConfig) -> int:
    """Frames of the longest clips that `stage` trains on."""
    return max(frames for _, frames in stage.curriculum or [(0, stage.clip_frames)])


def blank_clip(objective: Objective, stage: StageConfig, frames: int) -> Clip:
    """A batch as the stage's clips of `frames` bring it: pixels, or latents where they come from a cache."""
    world, batch = objective.world, stage.batch
    config = world.config
    cached = objective.reads == "latents" and config.tokenizer.time_stride == 1 and not stage.augment
    height, width, stride = world.height, world.width, config.tokenizer.stride
    number = torch.zeros(batch, dtype=torch.int64)
    actions = torch.zeros(batch, frames, len(world.actions))
    return Clip(
        frames_BFHWC=None if cached else torch.zeros(batch, frames, height, width, 3, dtype=torch.uint8),
        z_BTHWC=torch.zeros(batch, frames, height // stride, width // stride, config.tokenizer.latent_channels)
        if cached
        else None,
        actions_BFA=actions,
        known_BFA=torch.ones_like(actions, dtype=torch.bool),
        t_ns_BF=torch.zeros(batch, frames, dtype=torch.int64),
        video_B=number,
        first_B=number,
    )


def size_of(tree: object) -> int:
    """Bytes of all tensors in a list, a dictionary and the like; each storage counts once."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return sum({id(storage): storage.nbytes() for storage in storages}.values())
