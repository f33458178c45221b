"""List methods, models, data sets, recipes, comparisons or export formats, with a line about each."""

from __future__ import annotations

import json
from typing import Literal

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "list methods, models, data sets, recipes, comparisons or export formats"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    kinds = Literal["methods", "models", "data", "recipes", "comparisons", "formats"]
    parser.add_argument(
        "what", type=kinds, metavar="WHAT", help="methods, models, data, recipes, comparisons or formats"
    )
    parser.add_argument(
        "--search", metavar="TEXT", help="only names with this text; models: also timm's and torchvision's"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Print the entries."""
    from ..catalogue import catalogue, searched

    entries = catalogue(args.what) if args.search is None else searched(args.what, args.search)
    if args.json:
        print(json.dumps(entries))
        return 0
    from ..tables.catalogue import show_catalogue

    show_catalogue(entries)
    return 0
