"""The command `roadcast`: finds the subcommand, and turns what goes wrong into one line and an exit code."""

import difflib
import importlib
import inspect
import os
import sys

import roadcast
from roadcast.errors import UserError
from roadcast.files import BARRED, FULL

DONE, FAULT, MISUSE, INTERRUPTED = 0, 1, 2, 130
RESUMABLE = ("ingest", "train", "distil", "demo", "ablate", "sweep")

COMMANDS = {
    "ingest": "turn raw recordings into a reel",
    "train": "train a world on a reel",
    "distil": "take a world down to few network passes a frame",
    "reproduce": "train a run again from its record, and compare the loss curves",
    "generate": "drive a world by a script and write a video",
    "evaluate": "measure a world and write a report",
    "compare": "hold one evaluation against another",
    "ablate": "train variants of a recipe from several seeds, and tell what each change does",
    "sweep": "look for better settings, at random or by TPE",
    "leaderboard": "rank what was measured by one protocol",
    "drive": "take the wheel, in the browser",
    "serve": "let many take the wheel at once: page, WebSocket, rollouts over HTTP, health, metrics",
    "export": "write a world as files that run without roadcast's model code",
    "release": "make a world ready to be given away: half the bytes, and a model card",
    "demo": "the whole road once, on a small built-in world, in about ten minutes",
    "info": "what a folder or a preset is",
    "data": "look into a reel, check it, show it, divide and join reels",
    "models": "versions of worlds: keep them, let one have traffic, take it back",
}
"""Every subcommand is the function of its name in the module of its name; only the one that is called is imported."""

DATA_COMMANDS = {
    "info": "what is in a reel: lengths, sensors, signals and how they are spread, storage",
    "verify": "check every byte of a reel, and name what is damaged",
    "show": "a contact sheet, or a video with all that is known drawn in",
    "split": "divide the recordings of a reel into train, val and test anew",
    "merge": "make one reel of several",
    "export": "write a reel as a LeRobot dataset",
}
"""The subcommands of `roadcast data`, in the package of that name."""

MODELS_COMMANDS = {
    "push": "keep a finished world as a version that never changes",
    "list": "models, their versions, and which alias names which",
    "promote": "let an alias name a version, once the gate has let it through",
    "rollback": "let an alias name the version before, and quarantine the present one",
    "verify": "what the gate says of a version, and nothing moves",
}
"""The subcommands of `roadcast models`, in the package of that name."""

HELP = """usage: roadcast COMMAND ...

Driving video in, a world you can drive out.

commands:
{commands}

The whole road, in the order it is driven:
  roadcast ingest recordings/ reels/mine --preset tiny
  roadcast train recipes/tiny.toml --reel reels/mine --out runs/mine
  roadcast evaluate runs/mine --reel reels/mine --out runs/mine/evaluation
  roadcast drive runs/mine

`roadcast COMMAND --help` explains a command with examples; `roadcast --version` tells the version.
`--debug` with any command, or ROADCAST_DEBUG=1, shows the traceback of an error.
Exit codes: 0 done, 2 the command or its files must be changed, 130 interrupted, 1 a fault of roadcast's own."""

DATA_HELP = """usage: roadcast data COMMAND ...

Reels: what is in them, and what can be done with them.

commands:
{commands}

Examples:
  roadcast data info reels/mine --picture mine.png
  roadcast data verify reels/mine
  roadcast data show reels/mine --out mine.jpg
  roadcast data split reels/mine --fractions 0.7 0.15 0.15
  roadcast data merge reels/monday reels/tuesday --out reels/both

`roadcast data COMMAND --help` explains a command."""

MODELS_HELP = """usage: roadcast models COMMAND ...

Versions of worlds, and which of them is served.

commands:
{commands}

Examples:
  roadcast models push runs/mine --name mine
  roadcast models list
  roadcast models promote mine/1 --alias production
  roadcast models rollback mine@production --why "drifts in rain"
  roadcast models verify mine@production

`roadcast models COMMAND --help` explains a command."""

GROUPS = {"data": (DATA_COMMANDS, DATA_HELP), "models": (MODELS_COMMANDS, MODELS_HELP)}
"""Commands that have commands of their own, and the help of each."""


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line `arguments`, and return the exit code."""
    debug = "--debug" in arguments or os.environ.get("ROADCAST_DEBUG", "0") not in ("", "0")
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        dispatch(arguments)
    except UserError as error:
        return _complain(str(error), MISUSE, debug)
    except KeyboardInterrupt:
        again = arguments and arguments[0] in RESUMABLE
        return _complain(
            "stopped" + ("; give the same command again and it goes on from here" if again else ""), INTERRUPTED, debug
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left, as `| head` does
        return DONE
    except OSError as error:
        if error.errno not in FULL | BARRED:
            raise
        return _complain(f"{error.filename or 'disk'}: {error.strerror}", FAULT, debug)
    return DONE


def dispatch(arguments: list[str]) -> None:
    """Parse `arguments` and run the subcommand they name."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(HELP.format(commands=_listed(COMMANDS)))
        return
    if name == "--version":
        print(f"roadcast {roadcast.__version__}")
        return
    _check_known(name, COMMANDS)
    if name in GROUPS:
        (commands, text), group = GROUPS[name], name
        name, *rest = rest or ["--help"]
        if name in ("-h", "--help"):
            print(text.format(commands=_listed(commands)))
            sys.exit(DONE)
        _check_known(name, commands)
        name = f"{group} {name}"
    try:
        import rich  # noqa: F401
        import tyro
    except ImportError as error:
        raise UserError(f"the command line needs {error.name}; install it with: pip install 'roadcast[cli]'") from None
    module = importlib.import_module(f"roadcast.cli.{name.replace(' ', '.')}")
    command = getattr(module, name.rpartition(" ")[2])
    description = (inspect.getdoc(command) or "").partition("\nArgs:")[0]
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    tyro.cli(command, prog=f"roadcast {name}", description=description, args=rest, config=config)


def _listed(commands: dict[str, str]) -> str:
    return "\n".join(f"  {command:<12}{what}" for command, what in commands.items())


def _check_known(name: str, commands: dict[str, str]) -> None:
    if name not in commands:
        near = difflib.get_close_matches(name, commands, 1)
        raise UserError(
            f"{name!r} is no command; "
            + (f"did you mean {near[0]}?" if near else f"choose one of {', '.join(commands)}")
        )


def _complain(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"roadcast: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
