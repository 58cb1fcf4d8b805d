"""The four sizes, each a function that returns a full configuration."""

from roadcast.config import Config, DataConfig, DynamicsConfig, FlowConfig, StageConfig, TokenizerConfig
from roadcast.errors import UserError


def tiny() -> Config:
    """64x128 pixels on a laptop's CPU: a tokenizer of about 3 M and a transformer of about 4 M parameters."""
    return Config(
        data=DataConfig(height=64, width=128),
        tokenizer=TokenizerConfig(decoder_widths=(64, 192), decoder_blocks=1),
        flow=FlowConfig(steps=2),
        train={
            "tokenizer": StageConfig("tokenizer", steps=2000, batch=4, clip_frames=4, lr=1e-3, lr_final=5e-5),
            "dynamics": StageConfig(
                "diffusion_forcing", {"ramp": 0.5}, steps=4000, batch=6, clip_frames=20, lr=1e-3, lr_final=5e-5
            ),
        },
    )


def small() -> Config:
    """128x256 pixels on one desktop GPU: about 40 M parameters."""
    return Config(
        data=DataConfig(height=128, width=256, workers=4),
        tokenizer=TokenizerConfig(widths=(64, 128, 256), encoder_blocks=1, decoder_blocks=2),
        dynamics=DynamicsConfig(width=512, depth=10, heads=8, kv_heads=4, time_every=4, context_frames=24),
        train=_gpu_stages(tokenizer_steps=50_000, dynamics_steps=100_000, lr=5e-4, remat="selective"),
    )


def base() -> Config:
    """256x512 pixels on one data-centre GPU: about 150 M parameters."""
    return Config(
        data=DataConfig(height=256, width=512, workers=8),
        tokenizer=TokenizerConfig(widths=(128, 256, 384), encoder_blocks=2, decoder_blocks=2),
        dynamics=DynamicsConfig(width=896, depth=14, heads=14, kv_heads=7, time_every=4, context_frames=32),
        train=_gpu_stages(tokenizer_steps=100_000, dynamics_steps=200_000, lr=3e-4, remat="block"),
    )


def large() -> Config:
    """256x512 pixels with f32 latents, for many GPUs: about 500 M parameters."""
    return Config(
        data=DataConfig(height=256, width=512, workers=8),
        tokenizer=TokenizerConfig(widths=(128, 256, 384, 512), encoder_blocks=2, decoder_blocks=2, latent_channels=64),
        dynamics=DynamicsConfig(width=1408, depth=22, heads=22, kv_heads=11, time_every=4, context_frames=32),
        train=_gpu_stages(tokenizer_steps=100_000, dynamics_steps=300_000, lr=2e-4, remat="block"),
    )


def _gpu_stages(tokenizer_steps: int, dynamics_steps: int, lr: float, remat: str) -> dict[str, StageConfig]:
    common = {"lr": lr, "warmup": 1000, "save_every": 2000, "remat": remat}
    return {
        "tokenizer": StageConfig("tokenizer", steps=tokenizer_steps, batch=8, clip_frames=8, **common),
        "dynamics": StageConfig("diffusion_forcing", steps=dynamics_steps, batch=16, clip_frames=32, **common),
    }


PRESETS = {"tiny": tiny, "small": small, "base": base, "large": large}


def preset_config(name: str) -> Config:
    """The configuration of a preset by name; `UserError` for an unknown one."""
    if name not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()
