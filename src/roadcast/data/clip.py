"""The one typed batch that flows from the store to the model."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class Clip:
    """B clips of F frames, as pixels, as latents, or both.

    frames_BFHWC   uint8 RGB pixels (of the first camera), or None when the clip was read from a latent cache
    z_BTHWC        float32 latents (normalised), or None when the clip was read from pixels
    actions_BFA    float32, the chosen controls in their units, 0 where unknown; `actions[:, f]` is the
                   command in force when frame f was taken, so frame f may depend on actions[:, :f + 1]
    known_BFA      bool, False where the recording has no such control at that time
    t_ns_BF        int64 nanoseconds
    video_B        int64, index of the recording in the reel
    first_B        int64, index of the clip's first frame in the reel: with it the clip can be found again
    reel_B         int64, number of the reel in a mixture
    key_B          int64, the clip's place in the global sequence of samples: whatever is drawn for it depends on this alone
    views_BFVHWC   uint8 RGB pixels of every camera, or None where there is one; `frames_BFHWC` is then a view of it
    pose_BF7       float32, the ego pose (x y z in m, quaternion w x y z) of each frame in the frame of the clip's first,
                   NaN where unknown; None when no reel knows any
    drifted_BTHWC  float32 latents of the same frames as a world imagined them, or None where it did not (training/rollouts.py)
    """

    frames_BFHWC: Tensor | None
    z_BTHWC: Tensor | None
    actions_BFA: Tensor
    known_BFA: Tensor
    t_ns_BF: Tensor
    video_B: Tensor
    first_B: Tensor
    reel_B: Tensor | None = None
    key_B: Tensor | None = None
    views_BFVHWC: Tensor | None = None
    pose_BF7: Tensor | None = None
    drifted_BTHWC: Tensor | None = None

    def __len__(self) -> int:
        return self.actions_BFA.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = True) -> "Clip":
        """The same clip on `device`; copies overlap with compute when the source is pinned."""
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def chunk(self, parts: int) -> list["Clip"]:
        """The batch as `parts` equal ones, in order; the number of clips must be a multiple of it."""
        assert len(self) % parts == 0, f"{len(self)} clips cannot be cut into {parts} equal parts"
        size = len(self) // parts
        return [self._map(lambda x, i=i: x[i * size : (i + 1) * size]) for i in range(parts)]

    def pin_memory(self) -> "Clip":
        """The same clip in page-locked memory; called by torch's DataLoader."""
        return self._map(lambda x: x if x.is_pinned() else x.pin_memory())

    def tensors(self) -> list[Tensor]:
        """Every tensor there is."""
        return [value for x in fields(self) if (value := getattr(self, x.name)) is not None]

    def _map(self, f: Callable[[Tensor], Tensor]) -> "Clip":
        values = {x.name: getattr(self, x.name) for x in fields(self)}
        if self.views_BFVHWC is not None:
            values["frames_BFHWC"] = None
        mapped = Clip(**{name: None if value is None else f(value) for name, value in values.items()})
        if mapped.views_BFVHWC is not None:
            mapped.frames_BFHWC = mapped.views_BFVHWC[:, :, 0]
        return mapped
