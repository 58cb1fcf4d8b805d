"""One evaluation: a model on the clips of a protocol, beside its floors."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from roadcast.data.reel.store import Reel
from roadcast.evaluation.extractors import Extractor
from roadcast.evaluation.metrics.catalogue import LIKENESS, METRICS, RATIOS
from roadcast.evaluation.metrics.distribution import distributions
from roadcast.evaluation.metrics.drift import COLLAPSES, collapse, slope
from roadcast.evaluation.metrics.floors import SYSTEMS, copy_last, partner
from roadcast.evaluation.metrics.flow import motion, of_each
from roadcast.evaluation.metrics.statistics import Estimate, mean_estimate, ratio_estimate
from roadcast.evaluation.pictures import Shown
from roadcast.evaluation.protocol import Protocol, World, make_protocol, read_clips
from roadcast.evaluation.result import Result
from roadcast.evaluation.steering import (
    MIN_CONTEXTS,
    Steering,
    lateral_control,
    real_steering,
    steering_test,
    usual_amount,
)
from roadcast.nn.image_quality import psnr, ssim

SHOWN = 4

Progress = Callable[[str, int, int], None]  # (what is under way, done, of)


def evaluate(
    world: World,
    reel: Reel,
    *,
    split: str = "val",
    clips: int = 64,
    context: int = 16,
    horizon: int = 32,
    steps: int | None = None,
    seed: int = 0,
    batch: int = 8,
    steering_contexts: int = 32,
    extractors: Sequence[Extractor] = (),
    progress: Progress | None = None,
) -> Result:
    """Score a world on real clips: likeness, temporal consistency, drift and steering, always beside its floors.

    The model is given `context` real frames and the recorded commands and imagines `horizon` frames, which are
    held against the true ones. Beside it: the last frame repeated, the true frames through the tokenizer alone, and
    real video (`metrics.floors`). Means carry 95 % bootstrap intervals over clips.

    Args:
        split, clips, context, horizon, steps, seed: see `protocol.Protocol`.
        batch: clips imagined at once; changes speed and memory, not what is measured.
        steering_contexts: clips of the steering test, 0 to leave it out.
        extractors: of the features that sets of videos are compared in (`extractors`); without any, no FVD and the like.
        progress: called with (phase, done, total).
    Raises: UserError as `protocol.make_protocol`.
    """
    protocol = make_protocol(
        world, reel, split=split, clips=clips, context=context, horizon=horizon, steps=steps, seed=seed,
        extractors={extractor.name: extractor.identity for extractor in extractors},
    )  # fmt: skip
    n = len(protocol.clips)
    scores = {name: {system: np.zeros((n, horizon)) for system in SYSTEMS} for name in METRICS}
    collapsed: dict[str, dict[str, list[bool]]] = {s: {kind: [] for kind in COLLAPSES} for s in ("model", "copy")}
    features: dict[str, dict[str, list[np.ndarray]]] = {e.name: {s: [] for s in SYSTEMS} for e in extractors}
    lateral, commands, known = [], [], []
    shown_at = {(2 * i + 1) * n // (2 * min(SHOWN, n)) for i in range(min(SHOWN, n))}
    shown = Shown(clips=sorted(shown_at), frames={"real": [], "model": [], "reconstruction": []})
    seconds = {"imagine": 0.0, "measure": 0.0}
    for at in range(0, n, batch):
        indices = list(range(at, min(at + batch, n)))
        clip = read_clips(reel, protocol, indices)
        other = read_clips(reel, protocol, [partner(i, n) for i in indices])
        assert clip.frames_BFHWC is not None and other.frames_BFHWC is not None
        started = time.perf_counter()
        made = world.imagine(
            clip.frames_BFHWC[:, :context], clip.actions_BFA, clip.known_BFA, protocol.seeds(indices), steps
        )
        assert made.dtype == torch.uint8 and made.shape[1] == horizon
        _wait(made)
        seconds["imagine"] += time.perf_counter() - started
        frames = clip.frames_BFHWC.to(made.device)
        unrelated = other.frames_BFHWC.to(made.device)
        started = time.perf_counter()
        videos = {  # from the last context frame on
            "model": torch.cat([frames[:, context - 1 : context], made], dim=1),
            "copy": copy_last(frames, context)[:, context - 1 :],
            "reconstruction": world.reconstruct(clip.frames_BFHWC)[:, context - 1 :].to(made.device),
            "real": frames[:, context - 1 :],
        }
        rows = slice(at, at + len(indices))
        for system, video in videos.items():
            for extractor in extractors:
                features[extractor.name][system].append(extractor.features(video[:, 1:]))
            compared = unrelated[:, context:] if system == "real" else video[:, 1:]
            scores["psnr"][system][rows], scores["ssim"][system][rows] = likeness(compared, frames[:, context:])
            scores["sharpness"][system][rows] = sharpness(video[:, 1:])
            moved = of_each(motion, (frames if system == "real" else video).cpu().numpy())
            for i, m in enumerate(moved):
                scores["motion"][system][at + i] = m.magnitude[-horizon:]
                scores["warp_error"][system][at + i] = m.warp_error[-horizon:]
            if system == "real":
                lateral += [m.lateral for m in moved]
            if system in collapsed:
                for i in range(len(indices)):
                    found = collapse(video[i].cpu().numpy(), videos["real"][i].cpu().numpy())
                    for kind in COLLAPSES:
                        collapsed[system][kind].append(found[kind])
        for i in sorted(shown_at.intersection(indices)):
            for system, kept in shown.frames.items():
                kept.append(videos[system][i - at].cpu().numpy())
        commands.append(clip.actions_BFA.numpy())
        known.append(clip.known_BFA.numpy())
        seconds["measure"] += time.perf_counter() - started
        if progress:
            progress("clips", at + len(indices), n)

    control = lateral_control(protocol.actions)
    real = None
    if control:
        column = protocol.actions.index(control)
        real = real_steering(
            control, np.concatenate(commands)[..., column], np.concatenate(known)[..., column], np.stack(lateral)
        )
    steering, note = _steering(world, reel, protocol, control, steering_contexts, batch, progress)
    return Result(
        protocol=protocol,
        scores=scores,
        metrics={name: {s: _curve(name, scores[name], s) for s in SYSTEMS} for name in METRICS},
        gain={name: mean_estimate(scores[name]["model"] - scores[name]["copy"]) for name in LIKENESS},
        drift={
            name: {s: mean_estimate(slope(_relative(name, scores[name], s), protocol.fps)) for s in SYSTEMS}
            for name in METRICS
        },
        collapse={s: {kind: float(np.mean(found)) for kind, found in kinds.items()} for s, kinds in collapsed.items()},
        distributions={
            name: distributions({system: np.concatenate(rows) for system, rows in by_system.items()}, seed)
            for name, by_system in features.items()
        },
        steering=steering,
        steering_note=note,
        real_steering=real,
        seconds={**seconds, "imagined_frames_per_second": n * horizon / max(seconds["imagine"], 1e-9)},
        shown=shown,
    )


def likeness(frames_BFHWC: Tensor, true_BFHWC: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """PSNR and SSIM of every frame against the true one, uint8 in, two arrays [B, F]."""
    pairs = [(a.float() / 255, b.float() / 255) for a, b in zip(frames_BFHWC, true_BFHWC, strict=True)]
    scores = [torch.stack([metric(a, b) for a, b in pairs]).cpu().numpy() for metric in (psnr, ssim)]
    return scores[0], scores[1]


def sharpness(frames_BFHWC: Tensor) -> np.ndarray:
    """Mean absolute difference of neighbouring pixels in grey levels, across and down, [B, F]."""
    x = frames_BFHWC.float()
    across, down = x.diff(dim=-2).abs().mean(dim=(-3, -2, -1)), x.diff(dim=-3).abs().mean(dim=(-3, -2, -1))
    return ((across + down) / 2).cpu().numpy()


def _curve(name: str, by_system: dict[str, np.ndarray], system: str) -> Estimate:
    """The metric against the horizon: a mean, or for ratios the mean over the real video's mean."""
    if name in RATIOS:
        return ratio_estimate(by_system[system], by_system["real"])
    return mean_estimate(by_system[system])


def _relative(name: str, by_system: dict[str, np.ndarray], system: str) -> np.ndarray:
    """What the drift slope is taken of, [N, H]: for ratios the values over the real video's mean at that horizon."""
    if name in RATIOS:
        return by_system[system] / np.maximum(by_system["real"].mean(axis=0), 1e-9)
    return by_system[system]


def _steering(
    world: World,
    reel: Reel,
    protocol: Protocol,
    control: str | None,
    contexts: int,
    batch: int,
    progress: Progress | None,
) -> tuple[Steering | None, str]:
    """The steering test, or None and why it was not run."""
    if control is None:
        return None, f"The model takes no steering command (its controls: {', '.join(protocol.actions) or 'none'})."
    amount = usual_amount(reel, protocol.split, control)
    if amount is None:
        return None, f"No recording of split {protocol.split!r} has {control}."
    if min(contexts, len(protocol.clips)) < MIN_CONTEXTS:
        return None, f"The test needs at least {MIN_CONTEXTS} contexts, here {min(contexts, len(protocol.clips))}."
    test = steering_test(
        world, reel, protocol, control=control, amount=amount, contexts=contexts, batch=batch, progress=progress
    )
    return test, ""


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
