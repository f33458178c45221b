"""What becomes of accidents: processes that are killed or stopped while they write, and files that are damaged.

    OMP_NUM_THREADS=1 python benchmarks/faults.py --work DIR --result results/faults.json

A command whose process was ended is given again. Then

- equal: weights, metrics and pages are those of a command that nothing happened to, and nothing else lies there;
- refused: it says in one line what to do, with exit code 2;
- lost: anything else, such as a traceback, a file that is left over, or a signal that is not answered by one line and
  the exit code 128 + N;
- silent: it ends with other weights, metrics or pages.

`faults_damage.py` says what is damaged and what these words mean there. Parts may be made one by one or at the same
time, with --part and --only; they are put together in the result file. Half an hour on one core that does nothing else;
it takes Linux.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import faults_damage
from common import read_result, write_result
from faults_kill import Kills, keep_parser
from faults_scenarios import scenarios
from faults_views import stop_clocks
from filelock import FileLock

from stkd.runs.environment import environment

Counts = dict[str, Counter[str]]


def ended(work: Path, only: Sequence[str], share: float) -> Iterator[tuple[str, Counts]]:
    """Scenarios of processes that are ended, and what became of their faults."""
    kills = Kills(work)
    os.environ["STKD_CACHE"] = str(kills.now / "images")
    for name, scenario in scenarios(kills, work).items():
        if name in only or not only:
            yield name, kills.count(scenario, round(share * scenario.faults))


def damaged(work: Path, only: Sequence[str], share: float) -> Iterator[tuple[str, Counts]]:
    """Things whose files are damaged, and what became of it."""
    keep_parser()
    stop_clocks()
    for name, subject in faults_damage.subjects(work).items():
        if name in only or not only:
            yield name, faults_damage.count(subject, work, share)


PARTS = {"ended": ended, "damaged": damaged}


def main() -> None:
    """Cause the faults, count what becomes of them, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: both")
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="of a scenario, or of what is damaged"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the faults, for a quick look")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    made_by = environment()  # before the tree has a new file
    del made_by["command"]  # others may make other parts
    for part in arguments.part or PARTS:
        work = arguments.work.resolve() / part
        work.mkdir(parents=True)
        for name, counts in PARTS[part](work, arguments.only, arguments.share):
            found = {kind: dict(sorted(outcomes.items())) for kind, outcomes in counts.items()}
            with FileLock(arguments.work.resolve().parent / "faults.lock"):
                result = read_result(arguments.result)
                here = result.setdefault(part, {"environment": made_by, "found": {}})
                here["found"][name] = found
                if made_by["git"] != here["environment"]["git"]:
                    here.setdefault("revisions", {})[name] = made_by["git"]
                write_result(arguments.result, with_totals(result))
            print(f"{part}: {name}: {dict(sum(counts.values(), Counter()))}", flush=True)


def with_totals(result: dict[str, Any]) -> dict[str, Any]:
    """A result with the sums of all its faults."""
    parts = {part: dict(result[part]) for part in PARTS if part in result}
    for part in parts.values():
        part["found"] = dict(sorted(part["found"].items()))
    totals = Counter[str]()
    for part in parts.values():
        for kinds in part["found"].values():
            totals.update(sum(map(Counter, kinds.values()), Counter[str]()))
    return {
        "what": "processes ended while they write and files damaged, and what becomes of them",
        "faults": totals.total(),
        "outcomes": {name: totals[name] for name in ("equal", "mended", "refused", "left out", "lost", "silent")},
        **parts,
    }


if __name__ == "__main__":
    main()
