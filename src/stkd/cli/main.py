"""The command line: parse, call the library, print."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

from jsonargparse import Namespace

from ..core.errors import Interrupted, StkdError
from ..core.files import disk_full
from ..core.options import Parser
from ..core.processes import process_rank
from ..runtime import tune_process
from .commands import commands as _commands

__all__ = ["console", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; None takes the process's own.

    Returns:
        Exit code: 0 done, 1 a comparison with runs that failed, 2 bad input, 128 + N stopped by signal N.
    """
    tune_process()
    try:
        return _dispatch(_parser().parse_args(argv))
    except StkdError as error:
        return _fail(str(error))
    except Interrupted as stop:
        return _fail(str(stop), 128 + stop.signum)
    except KeyboardInterrupt:
        return _fail("stopped; run the same command again to go on", 130)
    except OSError as error:
        return _fail(_os_error(error))


def _fail(message: str, code: int = 2) -> int:
    if process_rank() == 0:  # the others would only say it again
        print(f"stkd: {'' if code > 2 else 'error: '}{message}", file=sys.stderr)
    return code


def _os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if disk_full(error):
        return f"the disk is full{where}; free some space and run the same command again: the last checkpoint is intact"
    return f"{error.strerror or error}{where}"


def _parser() -> Parser:
    parser = Parser(
        prog="stkd", description="Make image classifiers small: distil a large teacher into a compact student."
    )
    commands = parser.add_subcommands(dest="command", metavar="COMMAND", required=False)
    for name, command in _commands().items():
        sub = Parser(description=command.__doc__)
        command.add_arguments(sub)
        commands.add_subcommand(name, sub, help=command.SUMMARY)
        sub.prog = f"stkd {name}"  # jsonargparse would put options before the name
    parser.add_argument("--version", action="version", version=_version(), help="show the version")
    return parser


def _version() -> str:
    from .. import __version__

    return f"stkd {__version__}"


def _dispatch(args: Namespace) -> int:
    name = args.command
    if name is None:
        _parser().print_help()
        return 0
    return _commands()[name].run(args[name])


def _note(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
    """A warning of ours as one line, without the place in the code; those of libraries are for developers."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        print(f"stkd: note: {message}", file=sys.stderr)


def console() -> None:
    """Entry point of the installed command; a closed pipe (`stkd list models | head`) is not an error."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # outside the training loop too, leave with one line
    warnings.showwarning = _note  # type: ignore[assignment]
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code)
