"""Several worlds over one trained model, stepped together: the backend that the engine drives.

The state of all slots lies in one set of tensors, a row a slot. A step gathers its rows onto a bench, moves them there, and puts them
back only when all is well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from roadcast.errors import UserError
from roadcast.flow.driving import Drive, DrivingStep, fixed_copy
from roadcast.flow.rollout import Draft, RolloutState
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.serving.backend import NotFinite, Shown, check_clip
from roadcast.serving.compiled import Step, compiled
from roadcast.serving.foreign import traits
from roadcast.serving.rows import Rows, Slot, Snapshot, axis, empty, finite, first, leaves, put, same, take
from roadcast.serving.steady import steady
from roadcast.training.scenes import Scenes


@dataclass
class Bench:
    """Where `width` rows are moved on, and by what."""

    width: int
    rows: Rows
    advance: Step


class ModelBackend:
    """A `Backend` over a world model. The world is made steady in place (serving/steady.py).

    steps       network passes a frame; None takes the world's own number
    look_every  frames between two looks at the uncertainty, each the cost of one more step of that slot; 0: never
    widths      how many rows a step may run with, `slots` the last; None: powers of two up to `slots`

    A step of n slots runs as one batch of the next of `widths`; the rows that are missing are copies. That
    a row's bits depend neither on the width nor on the place in it is measured when the backend is made, and widths of other bits than
    the widest are not used: a lone driver then pays for more rows than one. Memory is that of twice `slots` worlds.

    Uncertainty is the spread of the next latent frame: the root mean square difference of what two draws of the noise make of the same
    past under the same command, over sqrt(2), in standard deviations of the data's latents. It tells what the model leaves open, not
    what it has never learnt. Between two looks the last figure stands.
    """

    batches = True

    def __init__(
        self,
        world: World,
        scenes: Scenes,
        slots: int = 8,
        steps: int | None = None,
        version: str = "",
        look_every: int = 16,
        widths: Sequence[int] | None = None,
    ):
        if world.config.tokenizer.time_stride != 1:
            raise UserError(
                f"tokenizer.time_stride = {world.config.tokenizer.time_stride}: driving answers every frame, which takes a "
                "model with time_stride 1"
            )
        if slots < 1:
            raise UserError(f"slots = {slots}; serve one at least")
        steady(world)
        self.world, self.context, self.slots, self.version, self.look_every = world, scenes, slots, version, look_every
        self.rollout = world.rollout(steps)
        self.fps, self.height, self.width, self.actions = world.fps, world.height, world.width, world.actions
        self.scenes = scenes.names
        one, _, _ = self._lived(*self._scene(0), seed=0)
        self._pool, scratch = empty(one, slots), empty(one, slots)
        self._slots = [Slot(torch.Generator().manual_seed(i)) for i in range(slots)]
        for slot in range(slots):
            put(self._pool, [slot], one)
        step = DrivingStep(self.rollout.sample, world.tokenizer)
        widths = widths or [width for width in (1, 2, 4, 8, 16, 32, 64, 128) if width < slots] + [slots]
        self._benches = [Bench(width, first(scratch, width), step) for width in widths]
        self._keep_equal()

    @property
    def widths(self) -> list[int]:
        """How many rows a step may run with."""
        return [bench.width for bench in self._benches]

    @torch.no_grad()
    def compile(self, make: Callable[[DrivingStep, Drive, Draft], Step] = compiled) -> None:
        """Let torch.compile write code for each width, a minute or more each; the worlds go on from where they are.

        make  a fast step from a slow one, and what it is given
        """
        for bench in self._benches:
            assert isinstance(bench.advance, DrivingStep), "a backend is compiled once"
            state = self._load(bench, [0])
            command = self._command([{}] * bench.width)
            bench.advance = make(bench.advance, bench.rows.drive, self.rollout.draft(state, *command))
        self._keep_equal()

    def begin(self, slot: int, scene: int, seed: int) -> np.ndarray:
        if not 0 <= scene < len(self.scenes):
            raise UserError(f"scene {scene} does not exist; choose 0 to {len(self.scenes) - 1}")
        return self._begin(slot, *self._scene(scene), seed)

    def begin_from(
        self, slot: int, frames_FHWC: np.ndarray, actions_FA: np.ndarray, known_FA: np.ndarray, seed: int
    ) -> np.ndarray:
        check_clip(self, frames_FHWC, actions_FA, known_FA)
        clip = frames_FHWC, actions_FA.astype(np.float32), known_FA.astype(bool)
        return self._begin(slot, *(torch.from_numpy(np.ascontiguousarray(x))[None] for x in clip), seed)

    @torch.no_grad()
    def step(self, actions: Mapping[int, dict[str, float]]) -> dict[int, Shown]:
        if not actions:
            return {}
        slots, commands = list(actions), list(actions.values())
        due = [i for i, slot in enumerate(slots) if self.look_every and self._slots[slot].frame % self.look_every == 0]
        looked_BTHWC = None
        if due:  # first, for a look leaves nothing behind
            bench, _, _ = self._advance([slots[i] for i in due], [commands[i] for i in due], look=True)
            looked_BTHWC = bench.rows.drive.rollout.finished_BTHWC[: len(due)].clone()
        bench, state, frames_BFHWC = self._advance(slots, commands)
        moved = Rows(bench.rows.drive, state.actions_BFA, state.known_BFA)
        if broken := [slot for slot, good in zip(slots, finite(moved.drive)) if not good]:
            raise NotFinite(broken)
        figures = [self._slots[slot].uncertainty for slot in slots]
        if looked_BTHWC is not None:
            for i, figure in zip(due, self._spread(moved.drive.rollout.finished_BTHWC[due], looked_BTHWC), strict=True):
                figures[i] = figure
        frames = frames_BFHWC[: len(slots), -1].cpu().numpy()
        latents_BTHWC, pool_BTHWC = moved.drive.rollout.finished_BTHWC, self._pool.drive.rollout.finished_BTHWC
        seen = traits(latents_BTHWC[: len(slots)], pool_BTHWC[slots])
        put(self._pool, slots, moved)
        for slot, noise, figure in zip(slots, state.noise, figures):
            self._slots[slot] = Slot(noise, self._slots[slot].frame + 1, figure)
        return {
            slot: Shown(frame, figure, one if figure is None else {**one, "uncertainty": figure})
            for slot, frame, figure, one in zip(slots, frames, figures, seen, strict=True)
        }

    def snapshot(self, slot: int) -> Snapshot:
        return Snapshot(take(self._pool, [slot]), self._slots[slot].copy())

    def restore(self, slot: int, snapshot: object) -> None:
        assert isinstance(snapshot, Snapshot)
        put(self._pool, [slot], snapshot.rows)
        self._slots[slot] = snapshot.slot.copy()

    def free(self, slot: int) -> None:
        """The tensors stay for the next one in the slot, which begins by overwriting them."""

    def _scene(self, scene: int) -> tuple[Tensor, Tensor, Tensor]:
        here, clips = slice(scene, scene + 1), self.context
        return clips.frames_BFHWC[here], clips.actions_BFA[here], clips.known_BFA[here]

    def _begin(self, slot: int, frames_BFHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seed: int) -> np.ndarray:
        rows, noise, frame_HWC = self._lived(frames_BFHWC, actions_BFA, known_BFA, seed)
        put(self._pool, [slot], rows)
        self._slots[slot] = Slot(noise)
        return frame_HWC

    @torch.no_grad()
    def _lived(
        self, frames_BFHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seed: int
    ) -> tuple[Rows, torch.Generator, np.ndarray]:
        """A world that has lived through a clip, its noise from there on, and its last frame."""
        frames_BFHWC, actions_BFA, known_BFA = (x.to(self.world.device) for x in (frames_BFHWC, actions_BFA, known_BFA))
        z_BTHWC, stream = self.world.tokenizer.encode(frames_BFHWC), Stream()
        shown_BFHWC = self.world.tokenizer.decode(z_BTHWC, stream)
        state = self.rollout.start(z_BTHWC, actions_BFA, known_BFA, [seed])
        rows = Rows(Drive(state.past, stream.past), state.actions_BFA, state.known_BFA)
        return fixed_copy(rows), state.noise[0], shown_BFHWC[0, -1].cpu().numpy()

    def _command(self, commands: Sequence[Mapping[str, float]]) -> tuple[Tensor, Tensor]:
        """One frame's commands and which are known, [B, 1, A]."""
        values = [[[command.get(name, 0.0) for name in self.actions]] for command in commands]
        known = [[[name in command for name in self.actions]] for command in commands]
        device = self.world.device
        return torch.tensor(values, dtype=torch.float32, device=device), torch.tensor(known, device=device)

    def _load(self, bench: Bench, slots: Sequence[int]) -> RolloutState:
        """Copy these slots' rows, the first one's for those that are missing, onto the bench."""
        slots = [*slots, *[slots[0]] * (bench.width - len(slots))]
        put(bench.rows, range(bench.width), take(self._pool, slots))
        drive, actions_BFA, known_BFA = bench.rows
        return RolloutState(drive.rollout, actions_BFA, known_BFA, [self._slots[slot].copy().noise for slot in slots])

    def _advance(
        self,
        slots: Sequence[int],
        commands: Sequence[Mapping[str, float]],
        bench: Bench | None = None,
        look: bool = False,
    ) -> tuple[Bench, RolloutState, Tensor]:
        """One frame of these slots on a bench, by default the narrowest that holds them; the pool stays as it is.

        look  with other noise of the same distribution: each cell takes its neighbour's
        """
        bench = bench or next(bench for bench in self._benches if bench.width >= len(slots))
        state = self._load(bench, slots)
        draft = self.rollout.draft(state, *self._command([*commands, *[commands[0]] * (bench.width - len(slots))]))
        if look:
            draft.noise_BTHWC = draft.noise_BTHWC.roll(1, dims=3)
        return bench, state, bench.advance(bench.rows.drive, draft)

    def _spread(self, z_BTHWC: Tensor, looked_BTHWC: Tensor) -> list[float]:
        """The uncertainty of the class's docstring, from two draws that bear the same small context noise."""
        clean = 1 - self.world.config.flow.context_noise
        return ((z_BTHWC - looked_BTHWC).square().flatten(1).mean(1).div(2).sqrt() / clean).tolist()

    @torch.no_grad()
    def _keep_equal(self) -> None:
        """Keep the benches on which every row has the bits it has on the widest.

        `UserError` where its place there counts, and of a world that makes no finite numbers, of which no two are alike.

        Whatever lies in the slots will do, with the noise of each.
        """
        everybody = list(range(self.slots))

        def rows_on(bench: Bench, slots: list[int]) -> dict[int, list[Tensor]]:
            found = {}
            for begin in range(0, self.slots, bench.width):
                now = slots[begin : begin + bench.width]
                _, _, frames_BFHWC = self._advance(now, [{}] * len(now), bench)
                made = [frames_BFHWC, *leaves(bench.rows.drive)]
                found |= {slot: [x.select(axis(x), i).clone() for x in made] for i, slot in enumerate(now)}
            return found

        widest = rows_on(self._benches[-1], everybody)
        if not all(finite(self._benches[-1].rows.drive)):
            raise UserError(
                "the world's frames are no finite numbers; take the world of an earlier state, or train it anew"
            )
        if not same(widest, rows_on(self._benches[-1], everybody[::-1])):
            raise UserError(
                f"slots = {self.slots}: on this machine a world's frames would depend on its place among the others; "
                "start with the variable MKL_CBWR=AUTO, or serve one session a process (slots = 1)"
            )
        self._benches = [bench for bench in self._benches if same(widest, rows_on(bench, everybody))]
