"""Compare methods on the same images, with the same teacher and the same budget.

Example: stkd compare --data digits --teacher-weights RUN --methods kd,stkd --students cnn4,cnn8 --seeds 5 --out DIR
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from ...core.config import DistillConfig
from ...core.options import Parser, add_options
from ...core.recipes import find_recipe, read_recipe
from ...studies.compare.recipe import SHARED, Comparison

SUMMARY = "compare methods, students and seeds under one budget"

_LISTS = ("data", "students", "methods", "seeds", "baseline")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.usage = "%(prog)s [RECIPE] --out DIR [OPTIONS]"
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="YAML file, or a comparison that comes with stkd")
    group = parser.add_argument_group("Comparison")
    group.add_argument("--data", type=str | None, metavar="KIND[:PATH],...", help="data sets")
    group.add_argument("--students", type=str | None, metavar="NAME,...", help="students by name")
    group.add_argument("--methods", type=str | None, metavar="NAME,...", help="methods; see 'stkd list methods'")
    group.add_argument(
        "--seeds", type=int | tuple[int, ...] | None, metavar="N|[N,...]", help="how many seeds, or which [3]"
    )
    group.add_argument("--baseline", type=str | None, metavar="NAME", help="what the others are compared with [kd]")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory; the same command goes on")
    group.add_argument("--jobs", type=int | None, metavar="N", help="runs at the same time [CUDA devices, or cores]")
    group.add_argument("--backend", type=Literal["local", "ray"], default="local", help="where runs are made [local]")
    add_options(parser, DistillConfig, SHARED)


def run(args: Namespace) -> int:
    """Compare, and print the table; 1 where some runs failed."""
    from ...studies.compare.study import compare
    from ...studies.compare.table import table
    from ..tables.comparison import show_comparison

    recipe: dict[str, Any] = read_recipe(find_recipe(args.recipe, "compare")) if args.recipe else {}
    recipe |= {key: args[key] for key in _LISTS if args[key] is not None}
    flags = {name: args[name] for name in SHARED if args[name] is not None}
    recipe["options"] = {**(recipe.get("options") or {}), **flags}
    result = compare(Comparison.of(recipe), args.out, jobs=args.jobs, backend=args.backend)
    show_comparison(table(result), str(args.out))
    print(f"{args.out}: report.html, comparison.json, table.md and table.tex")
    return 1 if any(cell["failed"] for cell in result["cells"]) else 0
