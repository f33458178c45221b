"""Serve a run's model over HTTP: POST images to /predict, by itself on this machine alone.

The model runs in onnxruntime. It is the ONNX file of a run, which is exported first where it has none, or a file that
'stkd export' wrote. GET / says how to ask.
"""

from __future__ import annotations

import logging
from pathlib import Path

from jsonargparse import Namespace

from ...core.errors import StkdError
from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "answer images over HTTP"

_log = logging.getLogger(__name__)


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="RUN-or-FILE", help="run directory, or an exported .onnx file")
    parser.add_argument("--host", type=str, default="127.0.0.1", metavar="ADDRESS", help="address [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="TCP port [8000]; 0 takes a free one")
    add_plugin(parser)


def run(args: Namespace) -> int:
    """Serve until Ctrl-C."""
    from ...serve.http_model import need_packages, open_served

    need_packages()
    from ...serve import http_server
    from ...serve.http_api import make_app

    if not 0 <= args.port <= 65535:
        raise StkdError(f"--port must be 0 to 65535, got {args.port}")
    load_given(args.plugin)
    with http_server.listen(args.host, args.port) as listening:
        app = make_app(open_served(args.model), hosts=http_server.hosts_of(args.host))
        if not http_server.is_loopback(args.host):
            _log.warning(
                "--host %s: whoever reaches this machine can ask the model, without password or encryption", args.host
            )
        address = http_server.address_of(listening, args.host)
        print(f"{args.model}: POST images to {address}/predict; Ctrl-C ends it", flush=True)
        http_server.make_server(app).run(sockets=[listening])
    return 0
