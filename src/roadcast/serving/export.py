"""A world to drive without its Python code: ahead of time, `start` and `step` become two files of machine code.

Both are functions of plain tensors in fixed shapes for one world (B = 1). Chance comes in from outside: the noise is an input,
for a graph has no generator.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._inductor import aoti_compile_and_package
from torch._inductor.exc import InvalidCxxCompiler
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

import roadcast
from roadcast.config import FlowConfig
from roadcast.data.actions import ACTIONS
from roadcast.dynamics.model import Dynamics
from roadcast.errors import UserError
from roadcast.flow.driving import Drive, DrivingStep, fixed_copy, overwrite
from roadcast.flow.rollout import Rollout, RolloutState
from roadcast.nn.causal_conv import Stream
from roadcast.safetensors import save_tensors
from roadcast.serving.exported import ABOUT, SCENES, SCHEMA, START, STEP
from roadcast.serving.session import ModelSession
from roadcast.tokenizer.model import Tokenizer


class State(NamedTuple):
    """All that a driven world carries from frame to frame but its generator: its drive, and the last commands [1, window - 1, A]."""

    drive: Drive
    actions_BFA: Tensor
    known_BFA: Tensor


class GivenNoise(Rollout):
    """A rollout that takes its noise, draw after draw, from tensors it is given."""

    def __init__(self, dynamics: Dynamics, flow: FlowConfig, noise: Iterable[Tensor]):
        super().__init__(dynamics, flow)
        self.given = iter(noise)

    def _noise(self, state: RolloutState, frames: int) -> Tensor:
        return next(self.given)


class Start(nn.Module):
    """`start(frames, actions, known, *noise) -> (frame, *state)`: a world that has lived through a clip, and its last frame.

    frames uint8 [1, F, H, W, 3], actions float32 and known bool [1, F, A]; frame uint8 [H, W, 3].
    """

    def __init__(self, dynamics: Dynamics, tokenizer: Tokenizer, flow: FlowConfig):
        super().__init__()
        self.dynamics, self.tokenizer, self.flow = dynamics, tokenizer, flow

    def forward(
        self, frames_BFHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, *noise: Tensor
    ) -> tuple[Tensor, ...]:
        z_BTHWC, stream = self.tokenizer.encode(frames_BFHWC), Stream()
        shown_BFHWC = self.tokenizer.decode(z_BTHWC, stream)
        begun = GivenNoise(self.dynamics, self.flow, noise).start(z_BTHWC, actions_BFA, known_BFA, seeds=[])
        state = State(Drive(begun.past, stream.past), begun.actions_BFA, begun.known_BFA)
        return shown_BFHWC[0, -1], *named(fixed_copy(state)).values()


class Step(nn.Module):
    """`step(*state, actions, known, *noise) -> frame`: the next frame uint8 [H, W, 3]; the state's tensors move on in place.

    actions float32 and known bool [1, 1, A]: this frame's command.
    """

    def __init__(self, step: DrivingStep, flow: FlowConfig, like: State):
        super().__init__()
        self.step, self.flow, self.like = step, flow, like

    def forward(self, *tensors: Tensor) -> Tensor:
        count = len(named(self.like))
        drive, *commands = filled(self.like, tensors[:count])
        actions_BFA, known_BFA, *noise = tensors[count:]
        state = RolloutState(drive.rollout, *commands, noise=[])
        draft = GivenNoise(self.step.sample.dynamics, self.flow, noise).draft(state, actions_BFA, known_BFA)
        frames_BFHWC = self.step(drive, draft)
        overwrite(commands, [state.actions_BFA, state.known_BFA])
        return frames_BFHWC[0, -1]


@dataclass
class Graphs:
    """A world on its way out of Python: what step.json is to say, the clips to start from, and the two graphs to compile."""

    about: dict
    scenes: dict[str, Tensor]
    start: ExportedProgram
    step: ExportedProgram


@torch.no_grad()
def trace(session: ModelSession) -> Graphs:
    """The graphs of a session's world, in its number of passes and its precision; the session is left as it is."""
    assert isinstance(session.advance, DrivingStep) and session.drive is not None, "what is compiled is traced no more"
    world, flow = session.world, session.world.config.flow
    scenes = {
        "frames": session.context.frames_BFHWC,
        "actions": session.context.actions_BFA,
        "known": session.context.known_BFA,
    }
    clip = {name: tensor[:1].to(world.device) for name, tensor in scenes.items()}
    command = {name: clip[name][:, -1:] for name in ("actions", "known")}
    state = fixed_copy(State(session.drive, session.state.actions_BFA, session.state.known_BFA))
    draws = ["noise", "context_noise"] if flow.context_noise else ["noise"]
    like_BTHWC = session.drive.rollout.finished_BTHWC
    lived_BTHWC = like_BTHWC.expand(-1, clip["frames"].shape[1], -1, -1, -1)
    start_noise = {name: torch.randn_like(lived_BTHWC) for name in draws[1:]}
    step_noise = {name: torch.randn_like(like_BTHWC) for name in draws}

    start = Start(world.dynamics, world.tokenizer, flow)
    step = Step(session.advance, flow, state)
    about = {
        "schema": SCHEMA,
        "roadcast": roadcast.__version__,
        "torch": torch.__version__,
        "device": world.device.type,
        "precision": str(world.dynamics.registers.dtype).removeprefix("torch."),
        "fps": world.fps,
        "height": world.height,
        "width": world.width,
        "steps": len(session.rollout.sample.levels) - 1,
        "actions": [{"name": a, "unit": ACTIONS[a].unit, "scale": ACTIONS[a].scale} for a in world.actions],
        "action_window": world.config.dynamics.action_window,
        "scenes": session.scenes,
        "start": {"clip": described(clip), "noise": described(start_noise)},
        "step": {"state": described(named(state)), "command": described(command), "noise": described(step_noise)},
    }
    return Graphs(
        about,
        scenes,
        torch.export.export(start, (*clip.values(), *start_noise.values())),
        torch.export.export(step, (*named(state).values(), *command.values(), *step_noise.values())),
    )


@torch.no_grad()  # or nothing is frozen
def export(session: ModelSession, folder: Path) -> None:
    """Write a session's world into `folder`, for `serving.exported.ExportedSession` or a loader in another language.

    The weights are frozen into the machine code, laid out as its kernels want them. Takes minutes. Raises `UserError` where
    there is no C++ compiler.
    """
    graphs = trace(session)
    (folder / ABOUT).write_text(json.dumps(graphs.about, indent=2) + "\n")
    save_tensors(folder / SCENES, graphs.scenes)
    for name, graph in ((START, graphs.start), (STEP, graphs.step)):
        try:
            aoti_compile_and_package(graph, package_path=str(folder / name), inductor_configs={"freezing": True})
        except InvalidCxxCompiler as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{folder / name}: cannot be compiled ({reason}); install a C++ compiler, such as g++"
            ) from None


def named(tree: object) -> dict[str, Tensor]:
    """The tensors of a tree of dataclasses and tuples in their order, by where in it they are: `drive.rollout.commands_BTA`."""
    leaves, _ = pytree.tree_flatten_with_path(tree)
    return {pytree.keystr(path).lstrip("."): leaf for path, leaf in leaves if isinstance(leaf, Tensor)}


def filled(tree: State, tensors: Iterable[Tensor]) -> State:
    """The tree with `tensors` in the place of its own."""
    there = iter(tensors)
    return pytree.tree_map_only(Tensor, lambda _: next(there), tree)


def described(tensors: dict[str, Tensor]) -> list[dict]:
    """Names, shapes and dtypes, as step.json has them."""
    return [
        {"name": n, "shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")} for n, x in tensors.items()
    ]
