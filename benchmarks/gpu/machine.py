"""Where the parts run, what they hand back, and how one that fails leaves the others whole."""

import gc
import resource
from collections.abc import Callable
from dataclasses import dataclass

import torch

from roadcast.config import Config, override
from roadcast.presets import preset_config

Row = dict[str, str | float | None]
"""One line of a table, by column."""

MICRO = (
    "data.height=32", "data.width=64",
    "tokenizer.widths=[8, 16, 16]", "tokenizer.decoder_blocks=1", "tokenizer.latent_channels=4",
    "dynamics.width=32", "dynamics.depth=4", "dynamics.heads=4", "dynamics.kv_heads=2", "dynamics.context_frames=4",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A device, and whether all is done in sizes that prove the code and nothing else."""

    device: str
    micro: bool

    @property
    def on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    @property
    def precision(self) -> str:
        """What networks drive in: a CPU may take a hundred times as long in bfloat16."""
        return "bfloat16" if self.on_gpu else "float32"

    def config(self, preset: str) -> Config:
        return override(preset_config("tiny"), list(MICRO)) if self.micro else preset_config(preset)

    def wait(self) -> None:
        """Until the device has done all it was told."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def forget_peak(self) -> None:
        """Free what nobody holds, and count the peak from here on."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gb(self) -> float:
        """The most bytes that tensors took at once on the GPU since `forget_peak`; on a CPU the process's largest resident set."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def attempt(name: Row, work: Callable[[], Row]) -> Row:
    """`name` and what `work` finds, or `name` and the error in a line: whatever fails here, the rest is to be measured."""
    try:
        return name | work()
    except Exception as error:
        return name | {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
