"""--plugin of the commands that open finished runs: the plug-in that registers their models and data."""

from __future__ import annotations

from pathlib import Path

from ...core.options import Parser
from ...core.plugins import load_plugin

__all__ = ["add_plugin", "load_given"]


def add_plugin(parser: Parser) -> None:
    """Declare --plugin."""
    parser.add_argument(
        "--plugin",
        type=Path | None,
        metavar="FILE",
        help="Python file that registers the run's models or data set; it is executed",
    )


def load_given(plugin: Path | None) -> None:
    """Load the plug-in if one was given. One that a run's own options name is never loaded: it would be executed."""
    if plugin is not None:
        load_plugin(plugin)
