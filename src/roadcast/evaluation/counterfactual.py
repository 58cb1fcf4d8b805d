"""The same contexts imagined under the true commands, another clip's and none, with the same noise, and all that is read off them."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.data.reel.store import Reel
from roadcast.evaluation.judge import Readout, readout
from roadcast.evaluation.metrics.floors import copy_last, partner
from roadcast.evaluation.metrics.flow import lateral_motion, of_each
from roadcast.evaluation.odometry import yaw_rates
from roadcast.evaluation.protocol import Protocol, World, read_clips
from roadcast.evaluation.steering import lateral_control
from roadcast.nn.image_quality import psnr
from roadcast.perception.inverse import InverseDynamics

GIVEN = {
    "true": "the recorded commands",
    "shuffled": "the recorded commands of another clip",
    "neutral": "no command: every control 0, but a speed kept",
}


def given_commands(clip: Clip, other: Clip, protocol: Protocol) -> dict[str, tuple[Tensor, Tensor]]:
    """By GIVEN, commands and which are known [B, context + horizon, A]; in the context all are the recorded ones."""
    commands = {name: (clip.actions_BFA.clone(), clip.known_BFA.clone()) for name in GIVEN}
    future, last = slice(protocol.context, None), slice(protocol.context - 1, protocol.context)
    kept = torch.tensor([float(name == "speed") for name in protocol.actions])
    for to, of in zip(commands["shuffled"], (other.actions_BFA, other.known_BFA), strict=True):
        to[:, future] = of[:, future]
    for to, of in zip(commands["neutral"], (clip.actions_BFA * kept, clip.known_BFA), strict=True):
        to[:, future] = of[:, last]
    return commands


class Counterfactuals:
    """What was imagined and what is real, in numbers.

    Arrays [clip, frame of the horizon, ...] by (quantity, name): "actions", "known", "psnr" and "flow" by GIVEN; "yaw" of "true" and
    "real", NaN where unknown; "read", the judge's controls as far as it can tell, by GIVEN and of "real", "copy", "reconstruction".
    """

    def __init__(self, world: World, reel: Reel, protocol: Protocol, judge: InverseDynamics | None):
        self.world, self.reel, self.protocol, self.judge = world, reel, protocol, judge
        self.before = judge.past + 1 if judge else 1
        self.guessed = False
        self._rows: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        return np.concatenate(self._rows[key])

    def add(self, indices: Sequence[int]) -> None:
        """Imagine and measure the clips at these places of the protocol's list."""
        protocol, context = self.protocol, self.protocol.context
        clip = read_clips(self.reel, protocol, indices)
        other = read_clips(self.reel, protocol, [partner(i, len(protocol.clips)) for i in indices])
        assert clip.frames_BFHWC is not None
        frames, start = clip.frames_BFHWC, context - self.before
        true = frames[:, context:].float() / 255
        for given, (actions, known) in given_commands(clip, other, protocol).items():
            made = self.world.imagine(
                frames[:, :context], actions.clone(), known.clone(), protocol.seeds(indices), protocol.steps
            ).cpu()
            video = torch.cat([frames[:, start:context], made], dim=1)
            from_context = video[:, self.before - 1 :].numpy()
            self._keep("actions", given, actions[:, context:])
            self._keep("known", given, known[:, context:])
            self._keep("psnr", given, psnr(made.float() / 255, true))
            self._keep("flow", given, np.stack(of_each(lateral_motion, list(from_context))))
            self._read(given, video)
            if given == "true":
                self._turn(given, clip, from_context)
        self._turn("real", clip, frames[:, context - 1 :].numpy())
        self._read("real", frames[:, start:])
        self._read("copy", copy_last(frames, context)[:, start:])
        self._read("reconstruction", self.world.reconstruct(frames).cpu()[:, start:])

    def steering(self, given: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The lateral control that was given, and where it is known, [clip, frame]; None where the world takes none."""
        if (control := lateral_control(self.protocol.actions)) is None:
            return None
        column = self.protocol.actions.index(control)
        return self["actions", given][..., column], self["known", given][..., column]

    def readouts(self, shown: str, given: str) -> dict[str, Readout]:
        """By control, what the judge reads from the videos `shown` against the commands `given`; nothing without a judge."""
        if self.judge is None:
            return {}
        read, found = self["read", shown], {}
        frames = read.shape[1]
        actions, known = self["actions", given][:, :frames], self["known", given][:, :frames]
        for a, control in enumerate(self.judge.actions):
            if control in self.protocol.actions:
                column = self.protocol.actions.index(control)
                found[control] = readout(read[..., a], actions[..., column], known[..., column])
        return {control: value for control, value in found.items() if value is not None}

    def _turn(self, name: str, clip: Clip, video_BFHWC: np.ndarray) -> None:
        rates, guessed = yaw_rates(self.reel, clip, video_BFHWC)
        self._keep("yaw", name, rates)
        self.guessed |= guessed

    def _read(self, name: str, video_BFHWC: Tensor) -> None:
        if self.judge is not None:
            self._keep("read", name, self.judge.read(video_BFHWC))

    def _keep(self, quantity: str, name: str, values: Tensor | np.ndarray) -> None:
        self._rows[quantity, name].append(np.asarray(values))
