"""The command line: parse, call the library, print."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from .config import DistillConfig, TrainConfig
from .errors import Interrupted, StkdError
from .files import disk_full
from .options import Parser, add_config, config_from
from .processes import process_rank

if TYPE_CHECKING:
    from .api import Result

__all__ = ["console", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; None takes the process's own.

    Returns:
        Exit code: 0 done, 2 bad input, 128 + N stopped by signal N.
    """
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
    demo = Parser(description="Teacher, student alone, mixup, KD and STKD on handwritten digits, in under two minutes.")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="where to write [runs/demo]")
    train = Parser(description="Train one model alone.")
    add_config(train, TrainConfig)
    distill = Parser(description="Distil a teacher into a student.")
    add_config(distill, DistillConfig)
    evaluate = Parser(description="Score a finished run: accuracy, NLL, ECE, agreement, size and speed.")
    evaluate.add_argument("run", type=Path, help="run directory")
    evaluate.add_argument("--split", type=str, default="test", metavar="NAME", help="test, val or train [test]")
    evaluate.add_argument(
        "--data", type=str | None, metavar="KIND[:PATH]", help="another data set with the same classes"
    )
    predict = Parser(description="Classes of images by a run's student, and by its teacher.")
    predict.add_argument("run", type=Path, help="run directory, or weights written by stkd")
    predict.add_argument("images", type=Path, nargs="+", help="image files")
    predict.add_argument("--top", type=int, default=5, metavar="N", help="classes to show [5]")
    listing = Parser(description="What there is: methods, models or data sets.")
    listing.add_argument("what", choices=["methods", "models", "data", "recipes"], help="what to list")
    for command in (evaluate, predict, listing):
        command.add_argument("--json", action="store_true", help="print JSON")
    for name, sub, text in (
        ("demo", demo, "see it work on digits, in under two minutes"),
        ("train", train, "train one model alone, a teacher for example"),
        ("distill", distill, "distil a teacher into a student"),
        ("evaluate", evaluate, "score a finished run"),
        ("predict", predict, "classify images with a run's student"),
        ("list", listing, "list methods, models, data sets or recipes"),
    ):
        commands.add_subcommand(name, sub, help=text)
        sub.prog = f"stkd {name}"  # jsonargparse would put options before the name
    parser.add_argument("--version", action="version", version=_version(), help="show the version")
    return parser


def _version() -> str:
    from . import __version__

    return f"stkd {__version__}"


def _dispatch(args: Namespace) -> int:
    # torch is imported inside the commands, so that --help and mistakes on the command line answer at once
    command = args.command
    if command is None:
        _parser().print_help()
        return 0
    return _COMMANDS[command](args[command])


def _demo(args: Namespace) -> int:
    from .demo import demo

    demo(args.out)
    return 0


def _train(args: Namespace) -> int:
    from .api import run_train

    return _done(run_train(config_from(TrainConfig, args)))


def _distill(args: Namespace) -> int:
    from .api import run_distill

    return _done(run_distill(config_from(DistillConfig, args)))


def _done(result: Result) -> int:
    scores = ", ".join(f"{s} accuracy {result.scores[s]['top1']:.2%}" for s in ("val", "test") if s in result.scores)
    for split, found in result.scores.get("ema", {}).items():
        scores += f", {split} accuracy of the averaged weights {found['top1']:.2%}"
    state = "" if result.fresh else "was finished before: "
    epochs = result.scores["epochs"]
    if process_rank() == 0:
        print(f"{result.out}: {state}{scores or 'done'} after epoch {epochs} of {epochs}; weights in {result.weights}")
    return 0


def _evaluate(args: Namespace) -> int:
    from .inspection import evaluate_run

    found = evaluate_run(args.run, split=args.split, data_spec=args.data)
    if args.json:
        print(json.dumps(found))
        return 0
    from .tables import show_scores

    show_scores(found, str(args.run))
    return 0


def _predict(args: Namespace) -> int:
    from .inspection import predict_images

    found = predict_images(args.run, args.images, top=args.top)
    if args.json:
        print(json.dumps(found))
        return 0
    from .tables import show_predictions

    show_predictions(found)
    return 0


def _list(args: Namespace) -> int:
    from .catalogue import catalogue

    entries = catalogue(args.what)
    if args.json:
        print(json.dumps(entries))
        return 0
    from .tables import show_catalogue

    show_catalogue(entries)
    return 0


_COMMANDS = {
    "demo": _demo,
    "train": _train,
    "distill": _distill,
    "evaluate": _evaluate,
    "predict": _predict,
    "list": _list,
}


def _note(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
    """A warning of ours as one line, without the place in the code; those of libraries are for developers."""
    if Path(filename).is_relative_to(Path(__file__).parent):
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
