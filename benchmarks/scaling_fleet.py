"""Many worlds driven as the rows of one rollout: what a server with a full batch runs, and with one row what a driver does."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from roadcast.config import Config
from roadcast.flow.driving import Drive, DrivingStep, fixed_copy, overwrite
from roadcast.flow.rollout import Draft
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.serving.compiled import Step, compiled
from roadcast.serving.session import in_precision


def random_world(config: Config, device: str = "cpu", precision: str = "float32", weights: str = "full") -> World:
    """A world of random weights in which no layer is idle; `precision` and `weights` as for a session."""
    torch.manual_seed(0)
    world = World(config).to(device).eval()
    for parameter in world.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return in_precision(world, precision, weights)


class Fleet:
    """B worlds, each with its own seed, over a context of random latents as long as the model remembers.

    As in a session, the state lies in the same tensors from the first reset on, and every step moves them on in place.
    """

    def __init__(self, world: World, seeds: list[int], steps: int | None = None):
        self.world, self.rollout = world, world.rollout(steps)
        self.advance: Step = DrivingStep(self.rollout.sample, world.tokenizer)
        self.drive: Drive | None = None
        self.reset(seeds)

    @torch.no_grad()
    def reset(self, seeds: list[int]) -> None:
        """Begin anew: row b's latents and all its later noise come from `seeds[b]` alone."""
        config, device = self.world.config, self.world.device
        stride, frames = config.tokenizer.stride, config.dynamics.context_frames
        grid = self.world.height // stride, self.world.width // stride, config.tokenizer.latent_channels
        rows = [torch.randn(frames, *grid, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        z_BTHWC, stream = torch.stack(rows).to(device), Stream()
        self.world.tokenizer.decode(z_BTHWC[:, -1:], stream)
        actions_BFA = torch.zeros(len(seeds), frames, len(self.world.actions), device=device)
        state = self.rollout.start(z_BTHWC, actions_BFA, torch.ones_like(actions_BFA, dtype=torch.bool), seeds)
        drive = Drive(state.past, stream.past)
        if self.drive is None:
            self.drive = fixed_copy(drive)
        else:
            overwrite(self.drive, drive)
        assert self.drive is not None
        self.state, state.past = state, self.drive.rollout

    def compile(self) -> None:
        """Let torch.compile write the step; on a GPU, replay it as one CUDA graph."""
        assert isinstance(self.advance, DrivingStep) and self.drive is not None
        self.advance = compiled(self.advance, self.drive, self.draft())

    def draft(self) -> Draft:
        """What the next frames are made from, every driver with the same command."""
        actions_BFA = torch.full((len(self.state.noise), 1, len(self.world.actions)), 0.1, device=self.world.device)
        return self.rollout.draft(self.state, actions_BFA, torch.ones_like(actions_BFA, dtype=torch.bool))

    @torch.no_grad()
    def step(self) -> Tensor:
        """The next frame of every world, from the command to the picture in memory: uint8 [B, H, W, 3] on the CPU."""
        assert self.drive is not None
        return self.advance(self.drive, self.draft())[:, -1].cpu()


def flop_of_a_step(step: Callable[[], object]) -> float:
    """Floating-point operations of one uncompiled step: its products, convolutions and attention."""
    cpu_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which PyTorch's counter does not know
    with FlopCounterMode(display=False, custom_mapping={cpu_attention: _attention_flop}) as counter:
        step()
    return counter.get_total_flops()


def _attention_flop(q_BNLK: list[int], k_BMSK: list[int], *others, out_shape=None, **options) -> int:
    """`q k^T` and `weights v`: twice `2 B N L S K`."""
    rows, heads, queries, head_dim = q_BNLK
    return 4 * rows * heads * queries * k_BMSK[2] * head_dim
