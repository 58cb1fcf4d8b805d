"""What eight bits save and what they cost: time, memory and likeness of a world in float32 and in every kind of `nn/quantize.py`.

    python benchmarks/quantize.py [--preset tiny | --world FOLDER [--reel FOLDER]] [--device cpu] [--quick]

Four tables: a feed-forward layer by itself, eager and (without --quick) compiled; a whole world; what rounding each of the layers
that `quantize` leaves alone would do; and frames 1 to 32 of rollouts under the same seeds and commands, against those of float32
and, given a reel, against the true ones. Without --world the weights are random, so the pictures mean nothing, but the times do.
The last line is one JSON object.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from roadcast.data.reel.store import Reel
from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.evaluation.protocol import make_protocol, read_clips
from roadcast.flow.world import World
from roadcast.nn.feed_forward import SwiGLU
from roadcast.nn.image_quality import psnr
from roadcast.nn.quantize import KINDS, kernel, quantize, weight_bytes
from roadcast.presets import PRESETS, preset_config

HORIZON, SHOWN = 32, (1, 8, 32)
LAYERS = ((36, 192), (72, 512), (144, 896))  # tokens, width
SEED = 0


@dataclass
class Clips:
    """What the worlds are asked: a context, commands that reach on past it, and what is true then, where that is known."""

    context_BFHWC: Tensor
    actions_BFA: Tensor
    known_BFA: Tensor
    true_BFHWC: Tensor | None

    def first(self) -> "Clips":
        """One of them, as in driving."""
        return Clips(self.context_BFHWC[:1], self.actions_BFA[:1], self.known_BFA[:1], None)


def random_world(preset: str) -> World:
    """A world of a preset's shape in which no layer is idle."""
    world = World(preset_config(preset))
    for parameter in world.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="linear")
    return world.eval()


def random_clips(world: World, count: int) -> Clips:
    """Noise under random commands."""
    context = world.config.dynamics.context_frames
    actions_BFA = torch.randn(count, context + HORIZON, len(world.actions))
    frames_BFHWC = torch.randint(256, (count, context, world.height, world.width, 3), dtype=torch.uint8)
    return Clips(frames_BFHWC, actions_BFA, torch.ones_like(actions_BFA, dtype=torch.bool), None)


def real_clips(world: World, folder: Path, count: int) -> Clips:
    """Clips of the reel's test drives, spread as `roadcast evaluate` spreads them."""
    reel, context = Reel(folder), world.config.dynamics.context_frames
    protocol = make_protocol(
        world, reel, split="test", clips=count, context=context, horizon=HORIZON, steps=None, seed=SEED
    )
    clip = read_clips(reel, protocol, range(len(protocol.clips)))
    assert clip.frames_BFHWC is not None
    return Clips(
        clip.frames_BFHWC[:, :context], clip.actions_BFA, clip.known_BFA, clip.frames_BFHWC[:, context:]
    )  # fmt: skip


def imagine(world: World, clips: Clips) -> Tensor:
    """The frames that follow each context, uint8 [B, HORIZON, H, W, 3]."""
    seeds = [SEED + i for i in range(len(clips.context_BFHWC))]
    return world.imagine(clips.context_BFHWC, clips.actions_BFA, clips.known_BFA, seeds).cpu()


def pass_inputs(world: World, clips: Clips) -> tuple[Tensor, Tensor, Tensor]:
    """Half-noised latents of every context, their level and their commands: what one network pass takes."""
    context = clips.context_BFHWC.shape[1]
    z_BTHWC = world.tokenizer.encode(clips.context_BFHWC.to(world.device))
    noise = torch.randn(z_BTHWC.shape, generator=torch.Generator().manual_seed(SEED)).to(z_BTHWC)
    window = world.config.dynamics.action_window
    padded = pad_history(clips.actions_BFA[:, :context], clips.known_BFA[:, :context], window)
    commands_BTA = command_window(*padded, window, world.config.tokenizer.time_stride).to(world.device)
    return (z_BTHWC + noise) / 2, z_BTHWC.new_full(z_BTHWC.shape[:2], 0.5), commands_BTA


def relative_error(y: Tensor, reference: Tensor) -> float:
    """Root mean square of the difference over that of the reference."""
    return ((y - reference).norm() / reference.norm()).item()


def best_times(works: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """The shortest time of each in seconds, taken in turns, so that what else the machine does meets all alike.

    On a CPU it is processor time, all threads together, which a busy machine stretches far less than the clock's.
    """
    on_cpu = torch.device(device).type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    times = dict.fromkeys(works, float("inf"))
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = clock()
            work()
            if not on_cpu:
                torch.accelerator.synchronize(device)
            if turn:  # the first warms up
                times[name] = min(times[name], clock() - start)
    return times


def layer_times(tokens: int, width: int, device: str, compiled: bool, rounds: int) -> dict[str, float]:
    """Microseconds of a feed-forward layer on one frame's tokens, by kind."""
    torch.compiler.reset()
    whole = SwiGLU(width, 8 / 3)
    x_BTPD = torch.randn(1, 1, tokens, width, device=device)
    layers = {"float32": whole.to(device)}
    for kind in KINDS:
        layers[kind] = quantize(nn.ModuleList([copy.deepcopy(whole)]), kind)[0]
    if compiled:
        layers = {kind: torch.compile(layer, fullgraph=True, dynamic=False) for kind, layer in layers.items()}
    works = {kind: lambda layer=layer: layer(x_BTPD) for kind, layer in layers.items()}
    return {kind: round(1e6 * seconds) for kind, seconds in best_times(works, rounds, device).items()}


def left_alone(world: World, inputs: tuple[Tensor, ...]) -> dict[str, tuple[float, float]]:
    """For each map outside the dynamics' blocks: its share of the weights, and the error of a pass if it alone were int8_dynamic."""
    dynamics = world.dynamics
    total, reference = sum(p.numel() for p in dynamics.parameters()), dynamics(*inputs)
    found = {}
    for name, layer in dynamics.named_modules():
        if isinstance(layer, nn.Linear) and not name.startswith("blocks.") and layer.in_features % 16 == 0:
            twin = copy.deepcopy(dynamics)
            twin.set_submodule(name, quantize(nn.ModuleList([copy.deepcopy(layer)]), "int8_dynamic")[0])
            share = layer.weight.numel() / total
            found[name] = round(share, 4), round(relative_error(twin(*inputs), reference), 5)
    blocks = copy.deepcopy(dynamics)
    share = sum(p.numel() for p in blocks.blocks.parameters()) / total
    quantize(blocks, "int8_dynamic")
    found["the blocks, which are rounded"] = round(share, 4), round(relative_error(blocks(*inputs), reference), 5)
    return found


def likeness(made_BFHWC: Tensor, other_BFHWC: Tensor) -> list[float]:
    """PSNR in dB at the frames shown, mean over clips."""
    at = [frame - 1 for frame in SHOWN]
    a, b = (x[:, at].float() / 255 for x in (made_BFHWC, other_BFHWC))
    return [round(value, 2) for value in psnr(a, b).mean(dim=0).tolist()]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument(
        "--world", type=Path, help="a trained world's folder; without one, random weights of the preset"
    )
    parser.add_argument(
        "--reel", type=Path, help="its reel, whose test drives are imagined and compared with the truth"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer clips and turns, and nothing compiled")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    device, clips_asked = arguments.device, 2 if arguments.quick else 16

    layers = []
    for compiled in (False,) if arguments.quick else (False, True):
        for tokens, width in LAYERS:
            layers.append(
                {
                    "tokens": tokens,
                    "width": width,
                    "compiled": compiled,
                    "us": layer_times(tokens, width, device, compiled, 10 if arguments.quick else 20),
                }
            )
            print(f"{tokens:4} tokens x {width}, {'compiled' if compiled else 'eager':8}  us {layers[-1]['us']}")

    world = World.load(arguments.world) if arguments.world else random_world(arguments.preset)
    world.to(device)
    clips = real_clips(world, arguments.reel, clips_asked) if arguments.reel else random_clips(world, clips_asked)
    worlds = {"float32": world, **{kind: quantize(copy.deepcopy(world), kind) for kind in KINDS}}
    inputs = pass_inputs(world, clips)
    one = clips.first()
    works = {kind: lambda other=other: imagine(other, one) for kind, other in worlds.items()}
    seconds = best_times(works, 1 if arguments.quick else 5, device)
    reference, frames = world.dynamics(*inputs), imagine(world, clips)
    shown = world.reconstruct(clips.context_BFHWC)
    kinds = {}
    for kind, other in worlds.items():
        made = imagine(other, clips)
        kinds[kind] = {
            "kernel": "linear" if kind == "float32" else kernel(kind, device),
            "dynamics_MB": round(weight_bytes(other.dynamics) / 1e6, 2),
            "tokenizer_MB": round(weight_bytes(other.tokenizer) / 1e6, 2),
            "ms_per_frame": round(1e3 * seconds[kind] / HORIZON, 2),
            "pass_error": round(relative_error(other.dynamics(*inputs), reference), 5),
            "reconstruction_psnr_to_float32": round(
                statistics.mean(psnr(other.reconstruct(clips.context_BFHWC) / 255, shown / 255).flatten().tolist()), 2
            ),
            "rollout_psnr_to_float32": likeness(made, frames),
            "rollout_psnr_to_truth": None if clips.true_BFHWC is None else likeness(made, clips.true_BFHWC),
        }
        print(f"{kind:13}", *(f"{name} {value}  " for name, value in kinds[kind].items()))
    outside = left_alone(world, inputs)
    for name, (share, error) in outside.items():
        print(f"{name:40} {100 * share:6.2f} % of the weights   pass error {error}")
    figures = {
        "layers": layers,
        "kinds": kinds,
        "left_alone": {name: {"share": share, "pass_error": error} for name, (share, error) in outside.items()},
        "clips": len(clips.context_BFHWC),
        "psnr_at_frames": SHOWN,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
