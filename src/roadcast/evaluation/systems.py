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

BEFORE = 2
"""Real frames at the head of every video: what a second difference in time, the longest look back of any measure, needs. A context of
one frame has it twice."""


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
        return self.video_BFHWC[:, BEFORE:]


@dataclass(frozen=True)
class Scene:
    """Some clips of the protocol with every system's videos of them; `seconds` is what imagining took."""

    clip: Clip
    systems: dict[str, Seen]
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
    whole = {
        "model": torch.cat([frames[:, :context], made], dim=1),
        "copy": copy_last(frames, context),
        "reconstruction": world.reconstruct(clip.frames_BFHWC).to(made.device),
        "real": frames,
    }
    if context < BEFORE:
        whole = {name: torch.cat([video[:, :1], video], dim=1) for name, video in whole.items()}
    videos = {name: video[:, -protocol.horizon - BEFORE :] for name, video in whole.items()}
    compared = {name: video[:, BEFORE:] for name, video in videos.items()}
    compared["real"] = other.frames_BFHWC[:, context:].to(made.device)
    return Scene(
        clip, {name: Seen(video, compared[name], frames[:, context:]) for name, video in videos.items()}, seconds
    )
