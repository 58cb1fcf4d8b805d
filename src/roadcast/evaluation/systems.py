"""What is compared: the model's rollouts of some clips, the systems that are its floors, and the truth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.floors import copy_last, partner
from roadcast.evaluation.protocol import Protocol, World, read_clips

BEFORE = 4
"""Real frames at the head of every video, as far as any measure looks back. Where the context is shorter its first frame stands for
those before it."""


@dataclass(frozen=True)
class Seen:
    """One system's videos of some clips.

    video_BFHWC     uint8, BEFORE frames of the context and then what the system shows, `horizon` frames
    compared_BHHWC  what likeness is taken of: what it shows, but for "real" what another clip shows
    true_BHHWC      the true frames
    """

    video_BFHWC: Tensor
    compared_BHHWC: Tensor
    true_BHHWC: Tensor

    @property
    def shown_BHHWC(self) -> Tensor:
        """What the system shows, without the context."""
        return self.after(0)

    def after(self, frames: int) -> Tensor:
        """What the system shows, after so many frames of the context."""
        return self.video_BFHWC[:, BEFORE - frames :]


@dataclass(frozen=True)
class Scene:
    """Some clips of the protocol with every system's videos of them.

    pose_BF7  the ego's, of the same frames as the videos, NaN where unknown
    seconds   that imagining took
    """

    clip: Clip
    systems: dict[str, Seen]
    pose_BF7: Tensor
    seconds: float


def show(world: World, reel: Reel, protocol: Protocol, indices: Sequence[int]) -> Scene:
    """The clips at these places of the protocol's list, imagined, repeated, reconstructed and as they were."""
    count, context = len(protocol.clips), protocol.context
    clip = read_clips(reel, protocol, indices)
    other = read_clips(reel, protocol, [partner(i, count) for i in indices])
    assert clip.frames_BFHWC is not None and other.frames_BFHWC is not None
    started = time.perf_counter()
    made = world.imagine(
        clip.frames_BFHWC[:, :context], clip.actions_BFA, clip.known_BFA, protocol.seeds(indices), protocol.steps
    )
    assert made.dtype == torch.uint8 and made.shape[1] == protocol.horizon
    if made.is_cuda:
        torch.cuda.synchronize(made.device)
    seconds = time.perf_counter() - started
    frames = clip.frames_BFHWC.to(made.device)
    videos = {
        "model": torch.cat([frames[:, :context], made], dim=1),
        "copy": copy_last(frames, context),
        "reconstruction": world.reconstruct(clip.frames_BFHWC).to(made.device),
        "real": frames,
    }
    videos = {name: headed(video, protocol) for name, video in videos.items()}
    compared = {name: video[:, BEFORE:] for name, video in videos.items()}
    compared["real"] = other.frames_BFHWC[:, context:].to(made.device)
    systems = {name: Seen(video, compared[name], frames[:, context:]) for name, video in videos.items()}
    unknown = torch.full((*clip.actions_BFA.shape[:2], 7), torch.nan)
    pose_BF7 = headed(unknown if clip.pose_BF7 is None else clip.pose_BF7, protocol)
    return Scene(clip, systems, pose_BF7, seconds)


def headed(x_BF: Tensor, protocol: Protocol) -> Tensor:
    """Of what there is of every frame of a clip, [B, context + horizon, ...]: the last `BEFORE + horizon` frames, the first repeated
    where there are fewer."""
    missing = BEFORE - protocol.context
    if missing > 0:
        x_BF = torch.cat([x_BF[:, :1]] * missing + [x_BF], dim=1)
    return x_BF[:, -protocol.horizon - BEFORE :]
