"""The command line: parse, call the library, print."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from ..core.accidents import killed_worker, no_memory, of_disk
from ..core.errors import Ended, Interrupted, StkdError, Terminated, unknown
from ..core.options import Parser
from ..core.processes import said_by, speaks
from ..core.signals import stopping
from .commands import commands as _commands
from .messages import hide_warnings_of_libraries, messages_shown

__all__ = ["console", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; None takes the process's own.

    Returns:
        Exit code: 0 done, 1 some runs of a comparison failed, some images could not be read or some files are damaged,
        2 bad input, 128 + N stopped by signal N.
    """
    try:
        with messages_shown():
            return _dispatch(sys.argv[1:] if argv is None else argv)
    except StkdError as error:
        return _fail(f"error: {error}", 2)
    except Interrupted as stop:
        return _fail(str(stop), 128 + stop.signum)
    except Ended as end:
        return _say(str(end), end.code) if speaks() else end.code
    except Terminated as stop:
        return _fail(_STOPPED, 128 + stop.signum)
    except KeyboardInterrupt:
        return _fail(_STOPPED, 128 + signal.SIGINT)
    except BrokenPipeError:
        raise  # nobody reads on
    except OSError as error:
        return _fail(f"error: {of_disk(error)}", 2)
    except Exception as error:
        if not speaks():
            return 1
        if named := said_by():  # several write to one terminal
            _say(f"{named}{type(error).__name__}: {error}", 1)
        raise


_STOPPED = "stopped; run the same command again to go on"


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(signum)


def _fail(message: str, code: int) -> int:
    """Say it once for all processes of a run."""
    return _say(f"{said_by()}{message}", code) if speaks() else code


def _say(message: str, code: int) -> int:
    line = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in message)
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    print(f"stkd: {line}", file=sys.stderr)
    return code


_LONGEST = 1000  # letters of a line: names and values in it may be of any length


def _parser() -> Parser:
    parser = Parser(
        prog="stkd", description="Make image classifiers small: distil a large teacher into a compact student."
    )
    commands = parser.add_subcommands(
        dest="command",
        metavar="COMMAND",
        required=False,
        title="commands",
        description="'stkd COMMAND --help' describes a command.",
    )
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


def _dispatch(argv: list[str]) -> int:
    known = _commands()
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        raise unknown("command", argv[0], known)
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    given = args[args.command]
    try:
        return known[args.command].run(given)
    except SystemExit as end:
        raise StkdError(f"a plug-in or a library called sys.exit({end.code!r}) before {args.command} was done") from end
    except (EOFError, MemoryError, OSError, RuntimeError) as error:
        if line := no_memory(error, vars(given)) or killed_worker(error):
            raise StkdError(line) from error
        raise


def console() -> None:
    """Entry point of the installed command; a closed pipe (`stkd list models | head`) is not an error."""
    for number in stopping():
        if number != signal.SIGINT:  # Python's own handler raises KeyboardInterrupt
            signal.signal(number, _terminate)
    hide_warnings_of_libraries()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code)
