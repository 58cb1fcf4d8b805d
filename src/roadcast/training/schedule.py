"""The learning rate, step by step."""

import math

from roadcast.config import StageConfig


def learning_rate(step: int, stage: StageConfig) -> float:
    """Linear warm-up to `lr` over `warmup` steps, then down to `lr_final` as `stage.schedule` has it.

    cosine  half a cosine over all steps that remain: `lr_final + (lr - lr_final) (1 + cos(pi p)) / 2`, p in [0, 1]
            (Loshchilov & Hutter 2017, eq. 5)
    wsd     warm-up, stable, decay: level, then `lr_final + (lr - lr_final) (1 - sqrt(p))` over the last `cooldown` of the steps
            (Haegele et al. 2024, section 3), so that one level run can be cooled down from wherever it stands
    """
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    if stage.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * progress(step, stage.warmup, stage.steps)))
    else:
        first = stage.steps - round(stage.cooldown * stage.steps)
        share = 1 - math.sqrt(progress(step, max(first, stage.warmup), stage.steps))
    return stage.lr_final + (stage.lr - stage.lr_final) * share


def progress(step: int, first: int, last: int) -> float:
    """How far `step` is from `first` to `last`: 0 before, 1 at the end."""
    return max(0, step - first) / max(1, last - first)
