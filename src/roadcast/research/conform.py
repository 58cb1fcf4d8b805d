"""Whether a part keeps the contract of its interface: what roadcast's own are tested with, and anyone's may be.

conform("tokenizer", tokenizer), conform("source", source), ...        [] when nothing is wrong
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.data.sources.conform import check_source
from roadcast.nn.causal_conv import Stream
from roadcast.research.interfaces import Dynamics, Metric, Objective, Tokenizer

HEIGHT, WIDTH = 32, 64
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
NOISES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Standard deviations that a metric must put in order."""

Complaints = Iterator[str]


def conform(kind: str, implementation: Any) -> list[str]:
    """What `implementation` does against the contract of its kind, a sentence each; an empty list if nothing.

    kind  tokenizer, dynamics, objective, metric or source (research/interfaces.py). Networks must have been trained, or given
          random weights: a network whose last layer is zero hides what it does
    Raises `ValueError` for another kind.
    """
    if kind not in CHECKS:
        raise ValueError(f"kind = {kind!r}; use one of {', '.join(CHECKS)}")
    if isinstance(implementation, nn.Module):
        implementation.eval()
    return list(CHECKS[kind](implementation))


def tokenizer_complaints(tokenizer: Tokenizer) -> Complaints:
    """Shapes and types first, as nothing else can be asked where these are wrong."""
    stride = tokenizer.config.time_stride
    size, latents = (HEIGHT // tokenizer.config.stride, WIDTH // tokenizer.config.stride), 4
    frames = torch.randint(0, 256, (2, latents * stride, HEIGHT, WIDTH, 3), generator=seeded(0), dtype=torch.uint8)
    with torch.no_grad():
        z, again = tokenizer.encode(frames), tokenizer.encode(frames)
        made = tokenizer.decode(z)
    expected = (2, latents, *size, tokenizer.config.latent_channels)
    if z.shape != expected or z.dtype != torch.float32:
        yield f"encode gives {z.dtype} {list(z.shape)}, should be float32 {list(expected)}"
        return
    if made.shape != frames.shape or made.dtype != torch.uint8:
        yield f"decode gives {made.dtype} {list(made.shape)}, should be uint8 {list(frames.shape)}"
        return
    if not torch.equal(z, again):
        yield "encode gives other latents the second time"
    raw = torch.randn(z.shape, generator=seeded(1))
    yield from causal("encode", lambda x: tokenizer.encode_raw(x), frames.float(), stride, 1)
    yield from causal("decode", lambda x: tokenizer.decode_raw(x), raw, 1, stride)
    with torch.no_grad():
        into, out = Stream(), Stream()
        z_parts = torch.cat([tokenizer.encode(part, into) for part in frames.split(stride, dim=1)], dim=1)
        parts = torch.cat([tokenizer.decode_raw(part, out) for part in raw.split(1, dim=1)], dim=1)
        whole = tokenizer.decode_raw(raw)
    for name, streamed, at_once in (("encode", z_parts, z), ("decode", parts, whole)):
        if not torch.allclose(streamed, at_once, **CLOSE):
            yield f"{name} frame by frame is {apart(streamed, at_once)} off from the clip read whole"


def dynamics_complaints(dynamics: Dynamics) -> Complaints:
    """Of nine frames, which is past the window of small networks."""
    config, frames, grid = dynamics.config, 9, (2, 4)
    x = torch.randn(2, frames, *grid, dynamics.channels, generator=seeded(0))
    t = torch.rand(2, frames, generator=seeded(1))
    commands = torch.rand(2, frames, 2 * config.action_window * len(config.actions), generator=seeded(2))
    with torch.no_grad():
        whole, again = dynamics(x, t, commands), dynamics(x, t, commands)
    if whole.shape != x.shape or whole.dtype != torch.float32:
        yield f"the answer is {whole.dtype} {list(whole.shape)}, should be float32 {list(x.shape)}"
        return
    if not torch.equal(whole, again):
        yield "gives another answer the second time"
    yield from causal("of frames, the answer", lambda v: dynamics(v, t, commands), x)
    yield from causal("of noise levels, the answer", lambda v: dynamics(x, v, commands), t)
    yield from causal("of commands, the answer", lambda v: dynamics(x, t, v), commands)
    history, parts = dynamics.empty_history(2, *grid), []
    with torch.no_grad():
        for f in range(frames):
            now = slice(f, f + 1)
            dynamics(-x[:, now], t[:, now], commands[:, now], history)  # finishes nothing, and must leave no trace
            parts.append(dynamics(x[:, now], t[:, now], commands[:, now], history))
            dynamics(x[:, now], t[:, now], commands[:, now], history, finished=1)
    if not torch.allclose(torch.cat(parts, dim=1), whole, **CLOSE):
        yield f"with a history it is {apart(torch.cat(parts, dim=1), whole)} off from the clip read whole"


def objective_complaints(objective: Objective) -> Complaints:
    """On two clips of twelve frames at the size of its world."""
    clip = noise_clip(objective)
    losses = []
    for elsewhere in (0, 1):
        torch.manual_seed(elsewhere)  # chance from anywhere but the generator shows
        loss, _ = objective.loss(clip, seeded(0))
        losses.append(loss)
    if losses[0].ndim or not losses[0].is_floating_point():
        yield f"the loss is {losses[0].dtype} {list(losses[0].shape)}, should be one floating-point number"
        return
    if not torch.isfinite(losses[0]):
        yield f"the loss is {losses[0].item():g}"
        return
    if not torch.equal(*losses):
        yield f"one generator gives the losses {losses[0].item():.8g} and {losses[1].item():.8g}; draw all chance from it"
    objective.trained.zero_grad(set_to_none=True)
    if not losses[0].requires_grad:
        yield "the loss has no gradient"
        return
    losses[0].backward()
    for name, parameter in objective.trained.named_parameters():
        if parameter.requires_grad and parameter.numel() and parameter.grad is None:
            yield f"no gradient reaches {name}, which is among the trained"
        elif parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            yield f"the gradient of {name} is not finite"


def metric_complaints(metric: Metric) -> Complaints:
    """On four smooth pictures of HEIGHT x WIDTH pixels, and noise of growing strength."""
    if metric.better not in ("higher", "lower"):
        yield f"better = {metric.better!r}; use 'higher' or 'lower'"
        return
    coarse = torch.rand(4, 3, 4, 8, generator=seeded(0))
    true = nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic").clamp(0, 1).movedim(1, -1)
    noise = torch.randn(true.shape, generator=seeded(1))
    made = [true, *((true + strength * noise).clamp(0, 1) for strength in NOISES)]
    with torch.no_grad():
        values = [metric.of(one, true) for one in made]
        again, alone = metric.of(made[2], true), metric.of(made[2][:1], true[:1])
    if values[0].shape != (4,):
        yield f"the values are {list(values[0].shape)} of 4 pictures, should be [4]"
        return
    badness = torch.stack(values) * (-1 if metric.better == "higher" else 1)
    if not torch.isfinite(badness).all():
        yield "a value is not finite"
    if (badness[0] >= badness[1:].amin(dim=0)).any():
        yield "the true picture itself is no better than one with noise"
    if (badness[1:].diff(dim=0) <= 0).any():
        yield f"more noise does not make it worse: {', '.join(f'{v.mean():.4g}' for v in values[1:])} at {NOISES}"
    if not torch.equal(values[2], again):
        yield "gives another value the second time"
    if not torch.allclose(alone, values[2][:1], **CLOSE):
        yield "the value of a picture depends on the others of the call"


def causal(what: str, network: Callable[[Tensor], Tensor], x: Tensor, stride: int = 1, out: int = 1) -> Complaints:
    """Complaints unless `network` looks back and never ahead: of its input every `stride` frames make `out` of its output."""
    x = x.detach().clone().requires_grad_()
    y, middle = network(x), x.shape[1] // stride // 2
    y[:, : middle * out].square().sum().backward()
    gradient = torch.zeros_like(x) if x.grad is None else x.grad
    if gradient[:, middle * stride :].abs().max() > 0:
        yield f"{what} has a gradient with respect to later ones"
    if gradient[:, : middle * stride].abs().max() == 0:
        yield f"{what} does not depend on its input; give the network trained or random weights"
    changed = x.detach().clone()
    changed[:, middle * stride :] = changed[:, middle * stride :].flip(1) * 0.5
    with torch.no_grad():
        before, after = network(x)[:, : middle * out], network(changed)[:, : middle * out]
    if not torch.allclose(before, after, rtol=0, atol=1e-6):
        yield f"{what} changes by {apart(before, after)} when later ones do"


def noise_clip(objective: Objective, batch: int = 2, frames: int = 12) -> Clip:
    """Random frames or latents, as the objective reads, under random commands that are all known."""
    config = objective.world.config
    data, tokenizer = config.data, config.tokenizer
    actions = torch.randn(batch, frames, len(config.dynamics.actions), generator=seeded(0))
    zeros = torch.zeros(batch, dtype=torch.int64)
    grid = (frames // tokenizer.time_stride, data.height // tokenizer.stride, data.width // tokenizer.stride)
    latents = torch.randn(batch, *grid, tokenizer.latent_channels, generator=seeded(1))
    pixels = torch.randint(0, 256, (batch, frames, data.height, data.width, 3), generator=seeded(2), dtype=torch.uint8)
    return Clip(
        frames_BFHWC=pixels if objective.reads == "frames" else None, z_BTHWC=latents if objective.reads == "latents" else None,
        actions_BFA=actions, known_BFA=torch.ones_like(actions, dtype=torch.bool),
        t_ns_BF=torch.arange(frames).expand(batch, -1) * round(1e9 / data.fps), video_B=zeros, first_B=zeros,
    )  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def apart(a: Tensor, b: Tensor) -> str:
    """The largest difference, to three digits."""
    return f"{float((a - b).abs().max()):.3g}"


CHECKS: dict[str, Callable[[Any], Complaints]] = {
    "tokenizer": tokenizer_complaints,
    "dynamics": dynamics_complaints,
    "objective": objective_complaints,
    "metric": metric_complaints,
    "source": lambda source: iter(check_source(source)),
}
