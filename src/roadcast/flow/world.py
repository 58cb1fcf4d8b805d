"""A world one can drive: tokenizer, dynamics and rollout under one configuration, as one folder on disk."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from roadcast.config import Config, load_config
from roadcast.dynamics.model import Dynamics
from roadcast.errors import UserError
from roadcast.flow.rollout import Rollout
from roadcast.nn.causal_conv import Stream
from roadcast.perception.encoder import VideoEncoder
from roadcast.perception.inverse import InverseDynamics
from roadcast.safetensors import load_tensors, save_tensors
from roadcast.tokenizer.model import Tokenizer


class World(nn.Module):
    """The two networks that make a world, with what evaluation and serving ask of them; beside them, where configured, networks that
    look at video and make none."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.tokenizer)
        self.dynamics = Dynamics(config.dynamics, config.tokenizer.latent_channels)
        self.features = VideoEncoder(config.features) if config.features.depth else None
        self.inverse = InverseDynamics(config.inverse, config.dynamics.actions) if config.inverse.width else None

    @property
    def fps(self) -> float:
        return self.config.data.fps

    @property
    def height(self) -> int:
        return self.config.data.height

    @property
    def width(self) -> int:
        return self.config.data.width

    @property
    def actions(self) -> tuple[str, ...]:
        return self.config.dynamics.actions

    def rollout(self, steps: int | None = None) -> Rollout:
        """The rollout of this world in `steps` network passes a frame (the configuration's number when None)."""
        return Rollout(self.dynamics, self.config.flow, self.config.tokenizer.time_stride, steps)

    def drive_in(self, steps: int) -> None:
        """From now on `steps` passes a frame are the world's own number; the configuration it was made with stays as it is."""
        self.config = replace(self.config, flow=replace(self.config.flow, steps=steps))

    @property
    def device(self) -> torch.device:
        return self.tokenizer.mean.device

    @torch.no_grad()
    def reconstruct(self, frames_BFHWC: Tensor) -> Tensor:
        """uint8 frames through the tokenizer and back: the best picture the dynamics could ever draw."""
        return self.tokenizer.decode(self.tokenizer.encode(frames_BFHWC.to(self.device)))

    @torch.no_grad()
    def imagine(
        self, frames_BFHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seeds: list[int], steps: int | None = None
    ) -> Tensor:
        """The frames that follow the context `frames_BFHWC` (uint8) under commands that reach on past it.

        actions_BFA, known_BFA  context and horizon: F + N commands, N frames are made
        seeds                   one a row: a row's future depends on its own seed alone
        returns                 uint8 [B, N, H, W, 3]
        """
        frames_BFHWC, actions_BFA, known_BFA = (x.to(self.device) for x in (frames_BFHWC, actions_BFA, known_BFA))
        context, stride = frames_BFHWC.shape[1], self.config.tokenizer.time_stride
        horizon = actions_BFA.shape[1] - context
        if context % stride or horizon % stride:
            raise UserError(
                f"context {context} and horizon {horizon} must be multiples of tokenizer.time_stride {stride}"
            )
        stream, z_BTHWC = Stream(), self.tokenizer.encode(frames_BFHWC)
        self.tokenizer.decode(z_BTHWC, stream)
        made = self.rollout(steps).unroll(z_BTHWC, actions_BFA, known_BFA, seeds)
        return torch.cat([self.tokenizer.decode(z, stream) for z in made], dim=1)

    def take_over(self, other: "World") -> None:
        """Give the networks that both have the weights of the other's; `UserError` where shapes differ.

        An embedding of step lengths that the other lacks stays as it is: new, it adds nothing, and the function is the same.
        """
        for name, part in other.named_children():
            if (own := getattr(self, name)) is not None:
                steps = {key: value for key, value in own.state_dict().items() if key.startswith("embed_step.")}
                load_weights(own, steps | part.state_dict(), Path(f"the {name} of the world to start from"))

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write config.json and weights.safetensors into `folder`, rounded to `dtype` if given; `load` widens them again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder / "config.json")
        tensors = {name: x.to(dtype) if x.is_floating_point() else x for name, x in self.state_dict().items()}
        save_tensors(folder / "weights.safetensors", tensors, {"format": "roadcast world"})

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "World":
        """The world in a folder, ready to run on `device`.

        Raises `UserError` when files are missing or damaged, or the weights are of other shapes than the configuration.
        """
        folder = Path(folder)
        world = cls(load_config(folder / "config.json"))
        load_weights(world, load_tensors(folder / "weights.safetensors"), folder / "weights.safetensors")
        return world.to(device).eval()


def load_weights(module: nn.Module, tensors: dict[str, Tensor], where: Path) -> None:
    """Copy `tensors` into `module`; the `UserError` of a mismatch names the first tensor that differs and both shapes."""
    own = module.state_dict()
    for name in [*own, *tensors]:
        ours = tuple(own[name].shape) if name in own else "absent"
        theirs = tuple(tensors[name].shape) if name in tensors else "absent"
        if ours != theirs:
            raise UserError(
                f"{where}: tensor {name} is {theirs} in the file and {ours} in the configured model; "
                "use the config.json it was saved with"
            )
    module.load_state_dict(tensors)
