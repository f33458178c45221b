"""Choose hyper-parameters on validation images, never on test images.

Example: stkd tune --data digits --teacher-weights RUN --student cnn4 --search alpha,temperature --trials 20 --out DIR
"""

from __future__ import annotations

from collections import Counter

from jsonargparse import Namespace

from ...core.config import DistillConfig
from ...core.errors import check_range
from ...core.options import Parser, add_config, config_from

SUMMARY = "choose hyper-parameters on validation images"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    group = parser.add_argument_group("Search")
    group.add_argument(
        "--search",
        type=str,
        default="alpha,temperature,weight",
        metavar="NAME,...",
        help="of alpha, instances, temperature, weight, beta, lr [alpha,temperature,weight]",
    )
    group.add_argument("--trials", type=int, default=20, metavar="N", help="runs in all, earlier ones too [20]")
    group.add_argument("--storage", type=str | None, metavar="URL", help="Optuna's storage [SQLite in the directory]")
    add_config(parser, DistillConfig)


def run(args: Namespace) -> int:
    """Tune, and print the best options."""
    from ...studies.tune.space import flags
    from ...studies.tune.study import tune

    check_range("--trials", args.trials, 1, 1_000_000)
    names = [name for name in args.search.split(",") if name]
    tuned = tune(config_from(DistillConfig, args), search=names, trials=args.trials, storage=args.storage)
    short = Counter(trial.outcome for trial in tuned.trials if trial.outcome != "finished")
    but = f" ({', '.join(f'{count} {outcome}' for outcome, count in sorted(short.items()))})" if short else ""
    print(f"best of {len(tuned.trials)} trials{but}: validation accuracy {tuned.top1:.2%} with {flags(tuned.options)}")
    print(f"to train with them: stkd distill --recipe {tuned.recipe} --out DIR")
    return 0
