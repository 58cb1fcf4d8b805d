"""Worlds small enough for tests, with every weight alive: zero-initialised layers would hide what they should show."""

import torch

from roadcast.config import Config, DataConfig, DynamicsConfig, StageConfig, TokenizerConfig
from roadcast.flow.world import World


def micro_config(**changes) -> Config:
    """A configuration of a few thousand parameters over 32x64 pixels."""
    config = Config(
        data=DataConfig(height=32, width=64),
        tokenizer=TokenizerConfig(widths=(8, 16, 16), decoder_blocks=1, latent_channels=4),
        dynamics=DynamicsConfig(width=32, depth=4, heads=4, kv_heads=2, context_frames=5, registers=2, action_window=3),
        train={
            "tokenizer": StageConfig("tokenizer", steps=4, batch=2, clip_frames=4, warmup=2, save_every=2, log_every=1),
            "dynamics": StageConfig(
                "diffusion_forcing", steps=4, batch=2, clip_frames=8, warmup=2, save_every=2, log_every=1
            ),
        },
    )
    for name, value in changes.items():
        section, _, key = name.partition("__")
        setattr(getattr(config, section), key, value)
    return config.validate()


def random_world(config: Config | None = None, seed: int = 0) -> World:
    """A world whose weights are all random, in evaluation mode."""
    world = World(config or micro_config())
    generator = torch.Generator().manual_seed(seed)
    for parameter in world.parameters():
        if parameter.ndim > 1 and parameter.numel():
            std = (parameter[0].numel()) ** -0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * std
    return world.eval()


def random_actions(batch: int, frames: int, actions: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Commands and which are known, both random."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, frames, actions, generator=generator)
    return values, torch.rand(batch, frames, actions, generator=generator) < 0.8
