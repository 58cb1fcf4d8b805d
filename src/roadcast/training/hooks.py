"""What plug-ins do as training goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from torch import nn

from roadcast.errors import UserError
from roadcast.plugins import look_up

Log = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Run:
    """The stage that is being trained, as hooks see it.

    folder  of the stage;  stage  its name;  model  what this process trains;  log  writes figures of a step to all logs
    """

    folder: Path
    stage: str
    model: nn.Module
    log: Log


class Hook:
    """Called as training goes, in every process alike; each method is there to be overridden, and does nothing.

    `options` are the numbers a recipe may set, with their defaults. What a hook raises ends the run.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, float]] = {}

    def __init__(self, options: dict[str, float]):
        if unknown := options.keys() - self.defaults.keys():
            raise UserError(
                f"hook {self.name!r} has no option {min(unknown)!r}; it has {', '.join(self.defaults) or 'none'}"
            )
        self.options = self.defaults | options

    def begin(self, run: Run) -> None:
        """Before the first step, or the first after a resume."""

    def step(self, run: Run, step: int, terms: dict[str, float]) -> None:
        """After each step: `step` of them are done, and these are its figures ("loss" and "grad_norm" among them)."""

    def evaluated(self, run: Run, step: int, values: dict[str, float]) -> None:
        """After an evaluation on held-out clips ("val_loss" among its values)."""

    def saved(self, run: Run, step: int) -> None:
        """After a state was handed over to be saved."""

    def end(self, run: Run) -> None:
        """After the last step; not when the run is cut short."""


Kind = TypeVar("Kind", bound=Hook)
HOOKS: dict[str, type[Hook]] = {}


def register_hook(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: recipes find the hook under `name`."""

    def register(cls: type[Kind]) -> type[Kind]:
        cls.name = name
        HOOKS[name] = cls
        return cls

    return register


class Hooks:
    """The hooks of a run, called in the order in which the recipe names them.

    chosen  each hook's options by its name, as in `compute.hooks`; `UserError` for a name or option that is unknown
    """

    def __init__(self, chosen: dict[str, dict[str, float]], folder: Path, stage: str, log: Log):
        self.hooks = [look_up("hook", name, HOOKS)(options) for name, options in chosen.items()]
        self.folder, self.stage, self.log = folder, stage, log

    def begin(self, model: nn.Module) -> None:
        self.run = Run(self.folder, self.stage, model, self.log)
        self._call("begin")

    def step(self, step: int, terms: dict[str, float]) -> None:
        self._call("step", step, terms)

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        self._call("evaluated", step, values)

    def saved(self, step: int) -> None:
        self._call("saved", step)

    def end(self) -> None:
        self._call("end")

    def _call(self, method: str, *arguments: object) -> None:
        for hook in self.hooks:
            try:
                getattr(hook, method)(self.run, *arguments)
            except Exception as error:
                raise UserError(
                    f"hook {hook.name!r} stopped the run in {method}: {type(error).__name__}: {error}; "
                    "mend it, or take it out of compute.hooks and go on"
                ) from error
