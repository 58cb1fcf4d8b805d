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
RESUMABLE = ("ingest", "train", "demo")

COMMANDS = {
    "ingest": "turn raw recordings into a reel",
    "train": "train a world on a reel",
    "generate": "drive a world by a script and write a video",
    "evaluate": "measure a world and write a report",
    "drive": "take the wheel, in the browser",
    "demo": "the whole road once, on a small built-in world, in about ten minutes",
    "info": "what a folder or a preset is",
}
"""Every subcommand is the function of its name in the module of its name; only the one that is called is imported."""

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
        print(HELP.format(commands="\n".join(f"  {command:<10}{what}" for command, what in COMMANDS.items())))
        return
    if name == "--version":
        print(f"roadcast {roadcast.__version__}")
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        raise UserError(
            f"{name!r} is no command; "
            + (f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}")
        )
    try:
        import rich  # noqa: F401
        import tyro
    except ImportError as error:
        raise UserError(f"the command line needs {error.name}; install it with: pip install 'roadcast[cli]'") from None
    command = getattr(importlib.import_module(f"roadcast.cli.{name}"), name)
    description = (inspect.getdoc(command) or "").partition("\nArgs:")[0]
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    tyro.cli(command, prog=f"roadcast {name}", description=description, args=rest, config=config)


def _complain(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"roadcast: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
