"""Serve a page on this machine: mix images in the browser, and see what teacher and student predict for the mixture."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.errors import check_range
from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "mix images in the browser and see both predictions"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory, or weights written by stkd")
    parser.add_argument("--data", type=str | None, metavar="KIND[:PATH]", help="data set to take examples from")
    parser.add_argument("--port", type=int | None, metavar="N", help="TCP port on 127.0.0.1 [first free from 7860]")
    add_plugin(parser)


def run(args: Namespace) -> int:
    """Serve the page until Ctrl-C."""
    import threading

    from ...serve import Explorer
    from ...serve.page import serve

    if args.port is not None:
        check_range("--port", args.port, 1, 65535)
    load_given(args.plugin)
    page, address = serve(Explorer(args.run, args.data), f"stkd explore: {args.run.resolve().name}", args.port)
    print(f"{args.run}: open {address} in a browser on this machine; Ctrl-C ends it", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
    return 0
