"""The typed configuration: dataclasses, a TOML overlay, dotted overrides, a schema version. Standard library only."""

import dataclasses
import json
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadcast.errors import UserError
from roadcast.overlay import overlay

SCHEMA = 1


@dataclass
class DataConfig:
    """What the model sees. Pixel size and rate are the model's; the reels must have been ingested to match them.

    reel     the reel to learn from, or
    mixture  several, each with its weight in the sequence of samples
    workers  that read ahead: 0 none, -1 as many threads or processes as the machine proves best
    """

    reel: str = ""
    mixture: dict[str, float] = field(default_factory=dict)
    height: int = 64
    width: int = 128
    fps: float = 20.0
    workers: int = 0


@dataclass
class TokenizerConfig:
    """Causal 3D convolutional autoencoder (tokenizer/model.py). `patch * 2 ** (len(widths) - 1)` is the spatial stride.

    decoder_widths  the decoder's own widths, from the picture down to the latents; `widths` where empty. Fewer of them paint larger
                    patches, which is what makes a decoder light
    bottleneck      tanh: latents in [-1, 1], shaken by `latent_noise` in training; kl: a Gaussian that learns its own noise
    lpips           a file of LPIPS weights, for the objective's option of that name (tokenizer/perceptual.py says how to make it)
    """

    patch: int = 4
    widths: tuple[int, ...] = (48, 96, 192)
    encoder_blocks: int = 1
    decoder_blocks: int = 2
    time_kernel: int = 2
    time_stride: int = 1
    latent_channels: int = 32
    latent_noise: float = 0.05
    decoder_widths: tuple[int, ...] = ()
    bottleneck: str = "tanh"
    lpips: str = ""

    @property
    def stride(self) -> int:
        return self.patch * 2 ** (len(self.widths) - 1)


@dataclass
class DynamicsConfig:
    """Causal diffusion transformer (dynamics/model.py).

    context_frames    frames a time layer sees, the one being made included: a sliding window
    attention         factorised: time layers look along time at one place; full: at all places of all frames in sight
    attention_chunk   0, or see the chunk of that many frames one is in and the one before (Transformer-XL), not a window
    sink_frames       first frames of a rollout that stay in sight for good
    backend           that computes attention: sdpa, flex or reference (nn/attend.py)
    rope_scaling      none, ntk or yarn: how positions reach `rope_factor` times as far as the window they were trained on
    difference_input  each frame comes with its difference to the frame before
    difference_target the network says what changes against the frame before, rather than the frame
    step_embedding    the network is told how long a step of the sampler is (objectives shortcut and mean_flow)
    """

    width: int = 192
    depth: int = 8
    heads: int = 6
    kv_heads: int = 3
    time_every: int = 4
    context_frames: int = 16
    attention: str = "factorised"
    attention_chunk: int = 0
    sink_frames: int = 0
    backend: str = "sdpa"
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    registers: int = 3
    difference_input: bool = True
    difference_target: bool = False
    step_embedding: bool = False
    mlp_ratio: float = 2.6667
    actions: tuple[str, ...] = ("steer", "throttle")
    action_window: int = 6
    action_dropout: float = 0.1


@dataclass
class FlowConfig:
    """The path from noise to data and how it is walked (flow/)."""

    prediction: str = "x"
    steps: int = 4
    context_noise: float = 0.05


@dataclass
class FeaturesConfig:
    """The encoder of videos to features (perception/encoder.py), taught by the objectives jepa and contrastive. None where depth is 0.

    patch, tubelet  pixels a side, and frames, of what makes one token
    """

    depth: int = 0
    width: int = 192
    heads: int = 6
    patch: int = 16
    tubelet: int = 2
    mlp_ratio: float = 2.6667


@dataclass
class InverseConfig:
    """The network that reads controls back from frames (perception/inverse.py), a judge of worlds. None where width is 0.

    past, ahead  pairs of neighbouring frames before and after a command that it looks at
    """

    width: int = 0
    past: int = 1
    ahead: int = 6


REMAT_MODES = ("none", "selective", "block")


@dataclass
class StageConfig:
    """One rung of the training ladder: an objective, its options by name, and how long to climb.

    from_start  begins with the finished world that the run's first stage began with (`start`), not with what the stage before it left
    curriculum  ((from step, frames a clip), ...), the first from step 0; clip_frames where it is empty
    augment     what is done to the clips at random, by name (docs/augmentation.md); latents are then made as clips are read
    remat       what is computed again in the backward pass rather than kept (parallel/remat.py): none; selective, all that is
                cheap; block, all but each block's input
    batch       clips of one micro-batch; accumulate: micro-batches of one step, of all processes together, which share them out,
                so that a run is the same on one process as on several
    losses      further terms by their registered names, each with its weight (docs/plugins.md)
    schedule    cosine, or wsd: level until the last `cooldown` of the steps (training/schedule.py)
    optimizer   adamw, or muon: for the matrices of blocks, AdamW for the rest
    keep        newest states that stay; keep_best: as many of the best by held-out loss stay besides
    patience    evaluations without a better held-out loss (smoothed) before the stage ends early; 0: it never does
    """

    objective: str = ""
    options: dict[str, float | str] = field(default_factory=dict)
    from_start: bool = False
    steps: int = 1000
    batch: int = 8
    accumulate: int = 1
    remat: str = "none"
    clip_frames: int = 16
    curriculum: tuple[tuple[int, int], ...] = ()
    augment: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    optimizer: str = "adamw"
    schedule: str = "cosine"
    cooldown: float = 0.2
    lr: float = 3e-4
    lr_final: float = 3e-5
    warmup: int = 100
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    ema: float = 0.999
    log_every: int = 10
    evaluate_every: int = 500
    save_every: int = 250
    keep: int = 2
    keep_best: int = 0
    patience: int = 0


@dataclass
class GuardConfig:
    """What is done when training goes wrong (training/guard.py, training/watch.py).

    anomaly        for a loss or gradient norm far above the steps before it: off, log, skip (the step is not taken) or rollback
                   (back to the last state saved, past the clips since). One that is not finite is never stepped with
    threshold      robust standard deviations above the median of the last `window` steps that make an anomaly
    rollbacks      most in a row, or skipped steps in a row times ten, before the stage stops and says so
    stall_seconds  without a batch that make a stuck loader; stall: log it and wait on, or stop
    """

    anomaly: str = "skip"
    threshold: float = 8.0
    window: int = 100
    rollbacks: int = 3
    stall_seconds: float = 300.0
    stall: str = "stop"


@dataclass
class ComputeConfig:
    """How a step is computed, which may change whenever a run goes on: beyond rounding, the result is the same.

    precision    auto: float32 on a CPU, on a GPU measured when the run begins; float32, bfloat16, float16 (with dynamic loss scaling), or
                 fp8 (extras/fp8.py)
    compile      every block of the networks by torch.compile
    shard        processes that share one copy of weights, gradients and moments between them (FSDP2); what remains of the
                 processes replicates: DDP where shard is 1, HSDP where it is not
    pipeline     stages the dynamics' blocks are cut into, one a process
    context      processes that share the frames of a clip
    offload      the optimizer's moments, and networks that are not trained, live in host memory
    save_async   states are written while training goes on: yes, no, or auto: where there is a GPU
    memory_gb    the budget that the memory monitor holds training to; 0: all of the device's
    profile      (first step, last step) of a torch.profiler trace; (0, 0): none
    hooks        called as training goes, by their registered names, each with its options (docs/plugins.md)
    """

    precision: str = "auto"
    compile: bool = False
    shard: int = 1
    pipeline: int = 1
    context: int = 1
    offload: bool = False
    save_async: str = "auto"
    memory_gb: float = 0.0
    profile: tuple[int, int] = (0, 0)
    trackers: tuple[str, ...] = ("tensorboard",)
    hooks: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Config:
    """Everything that makes a run: data, the two models, the path between noise and data, the stages in order, and how all of it
    is computed and guarded.

    start  the folder of a finished world whose networks the first stage begins with; "": with new ones
    """

    schema: int = SCHEMA
    seed: int = 0
    start: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    inverse: InverseConfig = field(default_factory=InverseConfig)
    train: dict[str, StageConfig] = field(default_factory=dict)
    guard: GuardConfig = field(default_factory=GuardConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def validate(self) -> "Config":
        """Itself, or a `UserError` that names the first field that cannot be."""
        _check_tokenizer(self.tokenizer)
        stride = self.tokenizer.stride
        for name in ("height", "width"):
            if (size := getattr(self.data, name)) % stride or size <= 0:
                raise UserError(
                    f"data.{name} = {size} is no multiple of the tokenizer's stride {stride}; use a multiple of {stride}"
                )
        _check_dynamics(self.dynamics)
        if self.dynamics.difference_target and self.flow.prediction != "x":
            raise UserError(
                f"flow.prediction = {self.flow.prediction!r} with dynamics.difference_target: a velocity has no frame before; "
                "use flow.prediction = 'x'"
            )
        if self.flow.prediction not in ("x", "v"):
            raise UserError(f"flow.prediction = {self.flow.prediction!r}; use 'x' or 'v'")
        _check_features(self.features, self.data)
        for name in ("width", "past", "ahead"):
            if (value := getattr(self.inverse, name)) < 0 or (name == "width" and value % 4):
                raise UserError(f"inverse.{name} = {value}; use 0 or more, and a multiple of 4 for the width")
        if self.data.reel and self.data.mixture:
            raise UserError("data.reel and data.mixture are both given; name the reel in the mixture, with a weight")
        for name, stage in self.train.items():
            _check_stage(name, stage)
        _check_choices("guard", self.guard, GUARD_CHOICES)
        _check_choices("compute", self.compute, COMPUTE_CHOICES)
        for name in ("shard", "pipeline", "context"):
            if (size := getattr(self.compute, name)) < 1:
                raise UserError(f"compute.{name} = {size}; use 1 for none, or a number of processes")
        return self

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_dict(), indent=1) + "\n")


def _check_tokenizer(tokenizer: TokenizerConfig) -> None:
    if tokenizer.stride not in (8, 16, 32):
        raise UserError(
            f"tokenizer.patch = {tokenizer.patch} with {len(tokenizer.widths)} widths makes a spatial stride of "
            f"{tokenizer.stride}; use 8, 16 or 32 = patch * 2 ** (number of widths - 1)"
        )
    if tokenizer.time_stride not in (1, 2, 4):
        raise UserError(f"tokenizer.time_stride = {tokenizer.time_stride}; use 1, 2 or 4 frames a latent")
    if tokenizer.stride % 2 ** max(0, len(tokenizer.decoder_widths) - 1):
        raise UserError(
            f"tokenizer.decoder_widths = {tokenizer.decoder_widths} halve a stride of {tokenizer.stride} too often; "
            f"use at most {tokenizer.stride.bit_length()} widths"
        )
    if tokenizer.bottleneck not in ("tanh", "kl"):
        raise UserError(f"tokenizer.bottleneck = {tokenizer.bottleneck!r}; use 'tanh' or 'kl'")


def _check_dynamics(dynamics: DynamicsConfig) -> None:
    if dynamics.width % dynamics.heads or dynamics.heads % dynamics.kv_heads:
        raise UserError("dynamics.width must divide by dynamics.heads, and dynamics.heads by dynamics.kv_heads")
    if dynamics.width // dynamics.heads % 4:
        raise UserError("dynamics.width / dynamics.heads must divide by 4, for rotary positions on two axes")
    _check_choices("dynamics", dynamics, DYNAMICS_CHOICES)
    if dynamics.time_every // 2 >= dynamics.depth:
        raise UserError(
            f"dynamics.time_every = {dynamics.time_every} leaves no time layer in a depth of {dynamics.depth}; make it smaller"
        )
    if dynamics.context_frames < 2:
        raise UserError(
            f"dynamics.context_frames = {dynamics.context_frames}; a frame and one before it are the least: use 2"
        )
    if not 0 <= dynamics.sink_frames < dynamics.context_frames:
        raise UserError(
            f"dynamics.sink_frames = {dynamics.sink_frames}; use 0 to {dynamics.context_frames - 1}, fewer than context_frames"
        )
    if dynamics.attention_chunk < 0 or (dynamics.attention_chunk and dynamics.sink_frames):
        raise UserError(
            f"dynamics.attention_chunk = {dynamics.attention_chunk}; use 0 for a sliding window, or a number of frames without sinks"
        )
    if dynamics.rope_factor < 1:
        raise UserError(f"dynamics.rope_factor = {dynamics.rope_factor:g}; use 1 for none, or more")


def _check_features(features: FeaturesConfig, data: DataConfig) -> None:
    for name, least in (("depth", 0), ("width", 1), ("heads", 1), ("patch", 1), ("tubelet", 1)):
        if (value := getattr(features, name)) < least:
            raise UserError(f"features.{name} = {value}; use {least} or more")
    head_dim, rest = divmod(features.width, features.heads)
    if rest or head_dim % 2 or head_dim < 6:
        raise UserError(
            f"features.width = {features.width} over {features.heads} heads; each must get an even number of channels, 6 or more, "
            "for rotary positions on three axes"
        )
    if features.depth and (data.height % features.patch or data.width % features.patch):
        raise UserError(
            f"features.patch = {features.patch} does not divide {data.height}x{data.width} pixels; use a divisor of both"
        )


def _check_stage(name: str, stage: StageConfig) -> None:
    if not stage.objective:
        raise UserError(f"train.{name}.objective is empty; name one, for example 'diffusion_forcing'")
    _check_choices(f"train.{name}", stage, STAGE_CHOICES)
    for field_ in ("steps", "batch", "accumulate", "log_every", "evaluate_every", "save_every", "keep"):
        if (value := getattr(stage, field_)) < 1:
            raise UserError(f"train.{name}.{field_} = {value}; use 1 or more")


def _check_choices(prefix: str, section: Any, choices: dict[str, tuple[str, ...]]) -> None:
    """Raise `UserError` for the first field of `section` that is none of its choices."""
    for name, allowed in choices.items():
        if (value := getattr(section, name)) not in allowed:
            raise UserError(f"{prefix}.{name} = {value!r}; use one of {', '.join(allowed)}")


DYNAMICS_CHOICES = {
    "attention": ("factorised", "full"),
    "backend": ("sdpa", "flex", "reference"),
    "rope_scaling": ("none", "ntk", "yarn"),
}
STAGE_CHOICES = {"remat": REMAT_MODES, "optimizer": ("adamw", "muon"), "schedule": ("cosine", "wsd")}
GUARD_CHOICES = {"anomaly": ("off", "log", "skip", "rollback"), "stall": ("log", "stop")}
COMPUTE_CHOICES = {
    "precision": ("auto", "float32", "bfloat16", "float16", "fp8"),
    "save_async": ("auto", "yes", "no"),
}


def load_config(path: Path, base: Config | None = None) -> Config:
    """The configuration in a .toml or .json file, laid over `base`; a `preset = "tiny"` line in the file names its base.

    Raises `UserError` for an unreadable file, an unknown key, or a value of the wrong type.
    """
    path = Path(path)
    try:
        text = path.read_text()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; see recipes/ for examples") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix or 'TOML'}: {error}") from None
    if (preset := values.pop("preset", None)) is not None:
        from roadcast.presets import preset_config

        base = preset_config(preset)
    values = migrate(values, str(path))
    return overlay(base or Config(), values, str(path)).validate()


def migrate(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values` brought to the present schema, one version at a time; each past version has its function in MIGRATIONS."""
    version = values.get("schema", SCHEMA)
    if not isinstance(version, int) or version > SCHEMA or version < 1:
        raise UserError(
            f"{where}: schema = {version!r}, but this roadcast reads 1 to {SCHEMA}; install a newer roadcast"
        )
    while version < SCHEMA:
        values, version = MIGRATIONS[version](values), version + 1
    return {**values, "schema": SCHEMA}


MIGRATIONS: dict[int, typing.Callable[[dict[str, Any]], dict[str, Any]]] = {}


def override(config: Config, assignments: list[str]) -> Config:
    """`config` with dotted assignments such as `train.dynamics.steps=200`; values are TOML, bare words are strings."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"override {assignment!r} has no '='; write section.key=value")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        config = overlay(config, value, f"override {assignment!r}")
    return config.validate()
