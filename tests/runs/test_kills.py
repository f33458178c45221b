"""Processes that end at any of their writes: the same command again ends as if nothing had happened.

Here the end of a process is an exception after which no file changes any more; `make faults` kills real ones, in every
command.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.core.errors import StkdError
from stkd.runs.verification import verify

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    from faults_points import Point, watched
    from faults_views import differences, view
finally:
    sys.path.remove(str(BENCHMARKS))

SMALL = {"train_images": 32, "batch_size": 16, "precision": "32", "accelerator": "cpu", "compile": "none"}


class Dead(BaseException):
    """The end of a process."""


@contextmanager
def ended_at(number: int, folder: Path) -> Iterator[list[Point]]:
    """A context that ends at a point, after which nothing is written below the folder; the points that it reached."""
    reached: list[Point] = []

    def reach(point: Point) -> None:
        reached.append(point)
        if 0 <= number < len(reached):
            raise Dead

    with watched(folder, reach):
        try:
            yield reached
        except Dead:
            return
    assert number < 0, "it came to its end"


def train(place: Path, epochs: int) -> None:
    package.train("cnn2", "digits", out=place / "run", epochs=epochs, **SMALL)


@pytest.mark.parametrize("before", [0, 1], ids=["from nothing", "for longer"])
@pytest.mark.parametrize("kills", [4, pytest.param(16, marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_run_that_is_killed_ends_as_one_that_was_not(kills: int, before: int, tmp_path: Path) -> None:
    begun, place = tmp_path / "begun", tmp_path / "place"
    begun.mkdir()
    if before:
        train(place, before)
        place.rename(begun)
    shutil.copytree(begun, place)
    with ended_at(-1, place) as reached:
        train(place, 2)
    right, points = view_without_times(place), len(reached)
    assert {"open", "write", "fsync", "replace", "unlink"} <= {point.operation for point in reached}
    for kill in range(kills):
        number = kill * points // kills
        shutil.rmtree(place)
        shutil.copytree(begun, place)
        with ended_at(number, place):
            train(place, 2)
        with suppress(StkdError):  # nothing lies there yet
            assert set(verify(place).values()) == {"right"}, number
        train(place, 2)
        assert differences(view_without_times(place), right) == ([], []), (number, reached[number])
        assert set(verify(place).values()) == {"right"}


def view_without_times(folder: Path) -> dict[str, Any]:
    """What lies in a folder; of the record of the end not how long it took."""
    found = view(folder)
    for file in folder.rglob("result.json"):
        record = json.loads(file.read_text())
        del record["seconds"], record["speed"]
        found[file.relative_to(folder).as_posix()] = record
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it forks, and looks into /proc")
def test_processes_that_are_killed_and_files_that_are_damaged(tmp_path: Path) -> None:
    """A small part of `make faults`."""
    result = tmp_path / "faults.json"
    words = [word for name in ("cache, for longer", "best weights") for word in ("--only", name)]
    words += ["--share", "0.2", "--work", str(tmp_path / "work"), "--result", str(result)]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "faults.py", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(result.read_text())
    assert told["outcomes"]["lost"] == told["outcomes"]["silent"] == 0, done.stderr
    assert told["ended"]["found"].keys() == {"cache, for longer"}
    assert (told["outcomes"]["equal"], told["outcomes"]["refused"]) == (4, 80)
