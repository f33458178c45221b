"""What several benchmarks share: `stkd bench` in a process of its own, scores by seed, reading and writing results."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stkd.core.files import write_atomic
from stkd.studies.statistics import paired_difference, summary

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"

CIFAR_PAIRS = {
    "resnet56 -> resnet20": ["--teacher", "resnet56", "--student", "resnet20"],
    "resnet32x4 -> resnet8x4": ["--teacher", "resnet32x4", "--student", "resnet8x4"],
    "wrn_40_2 -> wrn_16_2": ["--teacher", "wrn_40_2", "--student", "wrn_16_2"],
}
"""Arguments of `stkd bench` for the pairs of networks of CIFAR's size."""

SMALL_PHOTOS = ["--teacher", "timm/resnet10t", "--student", "timm/mobilenetv3_small_050"]

PHOTO_PAIRS = {
    f"resnet10t -> mobilenetv3_small_050 at {size}": [*SMALL_PHOTOS, "--image-size", str(size)] for size in (64, 128)
}
"""The same for a pair with depthwise convolutions, on small photos."""

LARGE_PAIR = {
    "resnet50 -> mobilenetv3_small_100 at 224": [
        *("--teacher", "timm/resnet50", "--student", "timm/mobilenetv3_small_100"),
        *("--image-size", "224", "--batch-size", "32"),
    ]
}


def read_result(file: Path) -> dict[str, Any]:
    """A result file; empty where there is none yet."""
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return result


def write_result(file: Path, result: Mapping[str, Any]) -> None:
    """Write a result file."""
    write_atomic(file, json.dumps(result, indent=1) + "\n")


def stkd(*arguments: str, threads: int | None = None, **environment: str) -> str:
    """What a `stkd` command prints, run in a process of its own.

    Args:
        arguments: Words of the command line.
        threads: Threads of the process; None: as this one.
        environment: More environment variables.
    """
    threads_of = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "stkd", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **threads_of, **environment},
    )
    if done.returncode:
        raise SystemExit(f"failed: stkd {' '.join(arguments)}")
    return done.stdout


def bench(*arguments: str, **environment: str) -> dict[str, Any]:
    """The result of one `stkd bench`, without the environment that it ran in."""
    result: dict[str, Any] = json.loads(stkd("bench", *arguments, "--json", **environment))
    del result["environment"]
    return result


def by_seed(seeds: Sequence[int], values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Scores of one arm of an experiment as result files hold them.

    Args:
        seeds: Seeds.
        values: Name of each score, and its value for each seed.

    Returns:
        The seeds; for each score its values, their mean and sample standard deviation.
    """
    scores = {}
    for score, of_seeds in values.items():
        mean, std = summary(of_seeds)
        scores[score] = {"values": list(of_seeds), "mean": mean, "std": std}
    return {"seeds": list(seeds), **scores}


def with_differences(arms: Mapping[str, Mapping[str, Any]], baseline: str) -> dict[str, dict[str, Any]]:
    """Arms of an experiment with their paired differences to a baseline, for each score.

    Args:
        arms: Name of each arm, and what `by_seed` made of it; other entries of an arm are kept.
        baseline: Name of one of them.
    """

    def scores(arm: Mapping[str, Any]) -> dict[str, Any]:
        return {name: entry for name, entry in arm.items() if isinstance(entry, Mapping) and "values" in entry}

    def paired(name: str, score: str) -> dict[str, Any] | None:
        one, other = (
            dict(zip(arms[arm]["seeds"], arms[arm][score]["values"], strict=True)) for arm in (name, baseline)
        )
        difference = paired_difference(one, other)
        return dataclasses.asdict(difference) if difference else None

    return {
        name: {**arm, **{s: {**e, "paired": paired(name, s)} for s, e in scores(arm).items() if name != baseline}}
        for name, arm in arms.items()
    }
