"""Several processes of one run: the same weights whoever starts them, and what is seen when one of them ends.

    python benchmarks/processes.py --work DIR --result results/processes.json

Two small students without batch normalisation learn by STKD on the CPU from batches of 63 images, in one process, in
two that torchrun, `--devices 2` and a stand-in of srun's environment start, and in four. Then rank 1 of two is killed,
gets SIGTERM, or raises an exception in its third step; after those of `--devices 2` the same command goes on in one
process. About five minutes on two idle cores. One thread a process.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common import write_result
from launchers import PLUGIN, Ended, alone, devices, srun, torchrun, words
from torch import Tensor

from stkd import models
from stkd.runs.environment import environment

LAUNCHERS = {"torchrun": torchrun, "--devices 2": devices(2), "srun (stand-in)": srun}
"""Two processes each."""

SET_UPS: dict[str, dict[str, object]] = {
    "two convolutions, float64": {"student": "plain", "precision": "64"},
    "two convolutions, float32": {"student": "plain", "precision": "32"},
    "timm/test_convnext, float64": {
        "student": "timm/test_convnext",
        "image-size": 32,
        "lr": 0.01,
        "precision": "64",
    },
}
"""Students and precisions."""

ACCIDENTS = {"kill -9": "kill", "SIGTERM": "SIGTERM", "exception": "error"}


def weights(run: Path) -> dict[str, Tensor]:
    """The student at the end, in the precision of the run."""
    state: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)["student"]
    return state


def difference(one: Path, other: Path) -> float:
    """The largest between two runs' weights."""
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def finished(ended: Ended) -> None:
    """End where a run did not."""
    if set(ended.codes) != {0}:
        raise SystemExit(ended.err)


def same_weights(work: Path, number: int, options: Mapping[str, object]) -> dict[str, Any]:
    """One process against two of each launcher, and four."""
    runs = {"1 process": alone, **LAUNCHERS, "--devices 4": devices(4)}
    made = {launcher: work / f"same-{number}-{place}" for place, launcher in enumerate(runs)}
    for launcher, run in runs.items():
        finished(run(work, *words(made[launcher].name, **options)))
    one = made["1 process"]
    largest = max(float(tensor.abs().max()) for tensor in weights(one).values())
    from_one = {launcher: difference(one, made[launcher]) for launcher in runs if launcher != "1 process"}
    if not all(map(math.isfinite, (*from_one.values(), largest))):
        raise SystemExit(f"{options}: weights are not finite")
    return {
        "from_one_process": from_one,
        "between_launchers_of_2": max(difference(made["torchrun"], made[launcher]) for launcher in LAUNCHERS),
        "largest_weight": largest,
    }


def accident(work: Path, launcher: str, kind: str) -> dict[str, Any]:
    """What is said and when all have ended, and how far from an undisturbed run the weights are when it goes on."""
    out = f"{ACCIDENTS[kind]}-{list(LAUNCHERS).index(launcher)}"
    ended = LAUNCHERS[launcher](work, *words(out), ACCIDENT=ACCIDENTS[kind], AT_RANK="1", AT_STEP="3")
    seen = {
        "exit_codes": list(ended.codes),
        "lines": [line.replace(f"{work}/", "") for line in ended.lines],
        "seconds": round(ended.seconds, 1),
        "checkpoint": (work / out / "checkpoints" / "last.pt").exists(),
    }
    if launcher != "--devices 2":
        return seen
    finished(alone(work, *words(out)))
    return {**seen, "difference_after_going_on": difference(work / "same-0-0", work / out)}


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs, which does not exist")
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    work: Path = args.work.absolute()
    work.mkdir(parents=True)
    (work / "plugin.py").write_text(PLUGIN)
    torch.manual_seed(3)
    torch.save(models.create("cnn2", num_classes=10, in_channels=1).state_dict(), work / "teacher.pth")

    same = {}
    for number, (name, options) in enumerate(SET_UPS.items()):
        same[name] = same_weights(work, number, options)
        print(f"{name}: {same[name]}", flush=True)
    seen: dict[str, dict[str, Any]] = {}
    for kind in ACCIDENTS:
        for launcher in LAUNCHERS:
            seen.setdefault(kind, {})[launcher] = found = accident(work, launcher, kind)
            print(f"{kind}, {launcher}: {found}", flush=True)
    if args.result:
        kept = {k: v for k, v in environment().items() if k in ("python", "platform", "versions", "cpu", "gpu", "git")}
        result = {
            "what": "several processes of one run on a CPU: largest differences of weights, and what is seen when rank "
            "1 of 2 is killed, gets SIGTERM or raises an exception in step 3; seconds are from the accident to the end "
            "of the last process, the launcher's own too, on a machine that did other work beside it; the exit code is "
            "the launcher's, with srun that of each task",
            "command": "python benchmarks/processes.py --work DIR --result results/processes.json",
            "environment": kept,
            "weights": same,
            "accidents_in_rank_1": seen,
        }
        write_result(args.result, result)


if __name__ == "__main__":
    main()
