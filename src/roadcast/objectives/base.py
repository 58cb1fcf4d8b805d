"""What a stage of training minimises. A new way to train is a new Objective; the loop never changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives.losses import Losses
from roadcast.plugins import look_up

Terms = dict[str, Tensor]
Options = Mapping[str, float | str]


@dataclass(frozen=True)
class Stored:
    """What a stage's clips bring of the world's own making: every recording to learn from, imagined in `steps` passes a frame, from
    `context` true frames on and anew every `depth` frames."""

    depth: int
    context: int
    steps: int


class Objective:
    """A loss over clips for one part of a world.

    `defaults` are the numbers a recipe may set as options, and `choices` the words, the first of each the default; `options` and
    `words` are those in force. `reads` says whether clips come as frames or latents, `makes` what comes out, "frames", "latents" or
    nothing that one could look at. `losses` are the stage's further terms, for `loss` to add to its own. `one_call` says whether the
    trained network is called once a batch, so that it may be cut in between (`OneCall`).
    """

    name: ClassVar[str]
    reads: ClassVar[str]
    makes: ClassVar[str] = ""
    defaults: ClassVar[dict[str, float]] = {}
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    one_call: ClassVar[bool] = False
    step = 0

    def __init__(self, world: World, options: Options, losses: dict[str, float]):
        self.world = world
        self.options, self.words = self.settings(options)
        self.losses = Losses(losses, self.makes, world)

    @classmethod
    def settings(cls, options: Options) -> tuple[dict[str, float], dict[str, str]]:
        """Numbers and words, as given or by default; `UserError` names the first option that is unknown or cannot be."""
        numbers, words = dict(cls.defaults), {name: allowed[0] for name, allowed in cls.choices.items()}
        for name, value in sorted(options.items()):
            if name in words and value in cls.choices[name]:
                words[name] = str(value)
            elif name in words:
                raise UserError(
                    f"option {name} = {value!r} of objective {cls.name!r}; use one of {', '.join(cls.choices[name])}"
                )
            elif name not in numbers:
                raise UserError(
                    f"objective {cls.name!r} has no option {name!r}; it has {', '.join([*numbers, *words]) or 'none'}"
                )
            elif isinstance(value, str):
                raise UserError(f"option {name} = {value!r} of objective {cls.name!r} is no number")
            else:
                numbers[name] = value
        return numbers, words

    @property
    def rests(self) -> bool:
        """Whether some of the parameters get no gradient in some steps."""
        return False

    @property
    def stored(self) -> Stored | None:
        """What the world is to imagine before the first step, for clips to bring along as `drifted_BTHWC`."""
        return None

    @property
    def trained(self) -> nn.Module:
        """The part of the world whose parameters move; the rest stays as it is."""
        raise NotImplementedError

    @property
    def frozen(self) -> Sequence[nn.Module]:
        """Networks without gradients that `loss` calls beside the trained one: they are sharded as it is, and may be off-loaded."""
        return ()

    def at(self, step: int, steps: int) -> None:
        """Told before each step: its number, 0 the first, and how many there are; for what changes as training goes."""
        self.step = step

    def chance(self, generator: torch.Generator) -> torch.Generator:
        """Chance that all micro-batches of a step share, for what decides how often a network is called.

        Processes that share its weights must call it equally often (parallel/shard.py), and others wait for the slowest. To be
        asked for with gradients on; on a held-out batch, which all processes judge alike, it is the batch's own `generator`.
        """
        if not torch.is_grad_enabled():
            return generator
        return torch.Generator().manual_seed((self.world.config.seed << 32) - 1 - self.step)  # no micro-batch's own

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        """The scalar to minimise over one batch, and its parts for the log. All chance comes from `generator`."""
        raise NotImplementedError

    def follow(self, average: Mapping[str, Tensor]) -> None:
        """Told before the first loss: the moving average of `trained`, by the names of its state dict. It moves with every step."""

    def judged(self, values: Mapping[str, float]) -> None:
        """Told after each evaluation: the terms on held-out clips, names prefixed by `val_`; none where there are no such clips."""

    def state(self) -> dict[str, float]:
        """What the steps to come depend on besides tensors and the step, as JSON; it is saved with every state."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on from a `state`, or from nothing ({})."""

    def finish(self, clips: Iterable[Clip]) -> None:
        """What is left to do once the weights are final, given some training clips."""


@dataclass(frozen=True)
class Problem:
    """What the dynamics are asked about one batch, and what would be right.

    x_BTHWC, t_BT, commands_BTA  what they are called with: latents at their noise levels, and windows of commands
    z_BTHWC                      the clean latents
    clip                         the batch itself
    """

    x_BTHWC: Tensor
    t_BT: Tensor
    commands_BTA: Tensor
    z_BTHWC: Tensor
    clip: Clip


class OneCall(Objective):
    """An objective that calls the trained network once a batch: asking and judging are apart, so that the network in between
    may be cut into stages on several processes (parallel/pipeline.py)."""

    one_call = True

    def prepare(self, clip: Clip, generator: torch.Generator) -> Problem:
        """What to ask about one batch. All chance comes from `generator`."""
        raise NotImplementedError

    def judge(self, problem: Problem, answer_BTHWC: Tensor) -> tuple[Tensor, Terms]:
        """The scalar to minimise, and its parts for the log, given what the network answered."""
        raise NotImplementedError

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        problem = self.prepare(clip, generator)
        return self.judge(problem, self.trained(problem.x_BTHWC, problem.t_BT, problem.commands_BTA))


@contextmanager
def begun_alike(world: World) -> Iterator[None]:
    """Networks made inside begin with the same weights whatever was drawn before: in all processes, and in a run that is resumed."""
    with torch.random.fork_rng(devices=[]), world.device:
        torch.manual_seed(world.config.seed)
        yield


Kind = TypeVar("Kind", bound=Objective)
OBJECTIVES: dict[str, type[Objective]] = {}


def register_objective(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: recipes find the objective under `name`."""

    def register(cls: type[Kind]) -> type[Kind]:
        cls.name = name
        OBJECTIVES[name] = cls
        return cls

    return register


def build_objective(
    name: str, world: World, options: Options, losses: Mapping[str, float] = MappingProxyType({})
) -> Objective:
    """The objective registered under `name`, here or by a plug-in, with further `losses` and their weights.

    Raises `UserError` for a name that is unknown, of an objective, an option or a loss.
    """
    return look_up("objective", name, OBJECTIVES)(world, options, dict(losses))
