"""Compute the differences and intervals in results/*.json anew, from the values of every seed that the files hold.

python benchmarks/intervals.py       (a test checks that the files are what this writes)

To be run when stkd.studies.statistics has changed, before tables.py; the values themselves stay as they were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import study_digits
import study_photos
from common import RESULTS, read_result, with_differences, write_result

from stkd.studies.compare.results import add_differences
from stkd.studies.demo import add_differences as add_differences_of_demo


def two_regimes(result: dict[str, Any]) -> dict[str, Any]:
    """Every method beside KD."""
    return {**result, "regimes": {name: with_differences(arms, "KD") for name, arms in result["regimes"].items()}}


def precision(result: dict[str, Any]) -> dict[str, Any]:
    """Every arithmetic beside the first, float32."""
    seeds = result["protocol"]["seeds"]
    arms = {name: {"seeds": seeds, **arm} for name, arm in result["arms"].items()}
    return {**result, "arms": with_differences(arms, next(iter(arms)))}


def of_units(cells: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What computes the cells of a study anew from the scores of its units."""
    return lambda result: {**result, "cells": cells(result["units"])}


def photos(result: dict[str, Any]) -> dict[str, Any]:
    """The cells of the photos' study, and the claim's arms on corrupted photos."""
    corrupted = {"corrupted": with_differences(result["corrupted"], "kd")} if "corrupted" in result else {}
    return {**of_units(study_photos.cells)(result), **corrupted}


RULES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cifar10_two_regimes": two_regimes,
    "precision": precision,
    "digits_demo": add_differences_of_demo,
    "methods": add_differences,
    "study_digits": of_units(study_digits.cells),
    "study_photos": photos,
    "ablations": add_differences,
}
"""Name of a result file, and what computes its differences."""


if __name__ == "__main__":
    for name, computed in RULES.items():
        file = RESULTS / f"{name}.json"
        write_result(file, computed(read_result(file)))
