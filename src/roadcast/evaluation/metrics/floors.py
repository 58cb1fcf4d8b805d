"""What a score is read against: the least a model must beat, and the most it can reach."""

import torch
from torch import Tensor

SYSTEMS = {
    "model": "the model's rollout",
    "copy": "the last context frame, repeated: what no prediction at all scores",
    "reconstruction": "the true frames through the tokenizer alone: what a perfect rollout would score",
    "real": "real video: for likeness, the true frames of another clip at the same horizon (what a perfectly realistic "
    "but unrelated video scores); for motion, consistency and sharpness, the true frames themselves",
}


def copy_last(frames_BFHWC: Tensor, context: int) -> Tensor:
    """The context, then its last frame repeated to the clips' length, of the same shape."""
    index = torch.arange(frames_BFHWC.shape[1], device=frames_BFHWC.device).clamp_max(context - 1)
    return frames_BFHWC.index_select(1, index)


def partner(clip: int, clips: int) -> int:
    """The unrelated clip that clip `clip` is compared with: the one half of the evenly spread clip list further on."""
    return (clip + clips // 2) % clips
