"""What a world of `ablation.py` scores on recordings it never saw, and costs. Scores are of latents, all but steering.

Latents have unit variance and come from one tokenizer that all runs share, so that nothing of it is in the differences; what
a score is read against is `floor`, the last true frame repeated.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.data.loading.latents import LatentReel
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel
from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.evaluation.protocol import Protocol, make_protocol, read_clips
from roadcast.evaluation.steering import steering_test, usual_amount
from roadcast.flow.path import add_noise, to_x
from roadcast.flow.world import World
from roadcast.objectives import build_objective

CLIPS = 32
HORIZON = 16
HORIZONS = (1, 4, 8, 16)
LEVELS = (0.25, 0.5, 0.75, 1.0)
CONTROL = "steer"
STEERING_CONTEXTS, STEERING_FRAMES = 8, 8
ROUNDS = 8

Scores = dict[str, float]


@torch.no_grad()
def measure(world: World, reel: Reel, latents: LatentReel) -> Scores:
    """Every score of a world, by name; `ablation_report.METRICS` says what the names mean."""
    protocol, clip = held_out(world, reel, latents)
    made = imagined(world, protocol, clip)
    return denoising(world, protocol, clip) | likeness(made, truth(protocol, clip)) | steering(world, reel, protocol)


def floor(world: World, reel: Reel, latents: LatentReel) -> Scores:
    """The last context frame repeated: what no prediction at all scores. It needs no trained world, only its sizes."""
    true = truth(*held_out(world, reel, latents))
    still = true[:, :1].expand_as(true)
    return {"error": float((still - true)[:, 1].square().mean())} | likeness(still, true)


def held_out(world: World, reel: Reel, latents: LatentReel) -> tuple[Protocol, Clip]:
    """Clips evenly spread over the held-out recordings, of as many frames as the model looks back on and HORIZON more."""
    context = world.config.dynamics.context_frames
    protocol = make_protocol(
        world, reel, split="val", clips=CLIPS, context=context, horizon=HORIZON, steps=None, seed=0
    )
    clip = read_clips(reel, protocol, range(len(protocol.clips)))
    rows = [latents.z_THWC[first : first + protocol.frames] for first in protocol.clips]
    return protocol, replace(clip, z_BTHWC=torch.from_numpy(np.stack(rows)).float())


def truth(protocol: Protocol, clip: Clip) -> Tensor:
    """The true latents from the last context frame on, [B, 1 + HORIZON, H, W, C]."""
    assert clip.z_BTHWC is not None
    return clip.z_BTHWC[:, protocol.context - 1 :]


def denoising(world: World, protocol: Protocol, clip: Clip) -> Scores:
    """`|x - x'|^2` of the frame after a true past, at fixed noise levels with the same noise for all: teacher-forced.

    In x-space whatever the network predicts, and without weights, so that variants of the loss compare. The past is at the
    level of noise that a rollout remembers frames at.
    """
    assert clip.z_BTHWC is not None
    flow, window, frames = world.config.flow, world.config.dynamics.action_window, protocol.context + 1
    z = clip.z_BTHWC[:, :frames]
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    known = clip.known_BFA[:, :frames]
    commands = command_window(*pad_history(clip.actions_BFA[:, :frames], known, window), window)
    scores = {}
    for level in LEVELS:
        t = torch.full(z.shape[:2], flow.context_noise)
        t[:, -1] = level
        x_t = add_noise(z, noise, t)
        made = to_x(world.dynamics(x_t, t, commands), x_t, t, flow.prediction)
        scores[f"error_{level:g}"] = float((made - z)[:, -1].square().mean())
    return scores | {"error": sum(scores.values()) / len(scores)}


def imagined(world: World, protocol: Protocol, clip: Clip) -> Tensor:
    """The last true context frame and HORIZON imagined ones under the recorded commands, [B, 1 + HORIZON, H, W, C]."""
    assert clip.z_BTHWC is not None
    rollout, past = world.rollout(), slice(0, protocol.context)
    seeds = protocol.seeds(range(len(protocol.clips)))
    state = rollout.start(clip.z_BTHWC[:, past], clip.actions_BFA[:, past], clip.known_BFA[:, past], seeds)
    made = [clip.z_BTHWC[:, protocol.context - 1, None]]
    for f in range(protocol.context, protocol.frames):
        made.append(rollout.step(state, clip.actions_BFA[:, f, None], clip.known_BFA[:, f, None]))
    return torch.cat(made, dim=1)


def likeness(made_BTHWC: Tensor, true_BTHWC: Tensor) -> Scores:
    """Likeness at some horizons, and of motion; both videos begin with the last true context frame.

    snr_h        10 log10(1 / mean squared error) in dB at horizon h: 0 where the mean of all latents would do as well
    consistency  mean |dz' - dz| over all frames, dz[t] = z[t] - z[t - 1]
    motion       mean |dz'| / mean |dz|
    """
    error_T = (made_BTHWC - true_BTHWC).square().mean(dim=(0, 2, 3, 4))
    moved, moves = made_BTHWC.diff(dim=1), true_BTHWC.diff(dim=1)
    return {f"snr_{h}": float(-10 * error_T[h].log10()) for h in HORIZONS} | {
        "consistency": float((moved - moves).abs().mean()),
        "motion": float(moved.abs().mean() / moves.abs().mean()),
    }


def steering(world: World, reel: Reel, protocol: Protocol) -> Scores:
    """How far apart hard left and hard right move the picture, in pixels a frame, above 0 the right way; and its Cohen's d_z."""
    amount = usual_amount(reel, protocol.split, CONTROL)
    assert amount is not None
    test = steering_test(
        world, reel, replace(protocol, horizon=STEERING_FRAMES),
        control=CONTROL, amount=amount, contexts=STEERING_CONTEXTS, batch=STEERING_CONTEXTS,
    )  # fmt: skip
    flow = np.array(test.flow)
    d_z = test.effect["left - right"].mean
    assert isinstance(d_z, float)
    return {"steering": float((flow[:, 0] - flow[:, -1]).mean()), "steering_d_z": d_z}


def costs(worlds: dict[str, World], reel: Reel, latents: LatentReel) -> dict[str, Scores]:
    """Milliseconds of CPU time of a training step (loss and gradient) and of a generated frame of one world, by name of the world.

    The least of ROUNDS in which all take turns, on one thread: other work on a shared machine slows all alike. What the weights
    are does not matter, so the worlds need no training.
    """
    calls = {(name, kind): call for name, w in worlds.items() for kind, call in work(w, reel, latents).items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            started = time.process_time()
            call()
            times[key].append(1e3 * (time.process_time() - started))
    return {name: {kind: min(times[name, kind]) for kind in ("step_ms", "frame_ms")} for name in worlds}


def work(world: World, reel: Reel, latents: LatentReel) -> dict[str, Callable[[], None]]:
    """What `costs` times of one world."""
    config, stage = world.config, world.config.train["dynamics"]
    objective = build_objective(stage.objective, world, stage.options)
    batch = Clips(
        [reel], "train", stage.clip_frames, stage.batch, config.dynamics.actions, config.seed, latents=[latents]
    )[0]
    assert batch.z_BTHWC is not None
    rollout = world.rollout()
    with torch.no_grad():
        state = rollout.start(batch.z_BTHWC[:1], batch.actions_BFA[:1], batch.known_BFA[:1], [0])

    def train() -> None:
        objective.loss(batch, torch.Generator().manual_seed(0))[0].backward()

    @torch.no_grad()
    def generate() -> None:
        rollout.step(state, batch.actions_BFA[:1, :1], batch.known_BFA[:1, :1])

    return {"step_ms": train, "frame_ms": generate}
