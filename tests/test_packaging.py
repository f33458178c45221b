"""What is installed: tested versions of everything, and in continuous integration every extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def normal(name: str) -> str:
    """A package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras_of(extra: str) -> set[str]:
    """An extra and all that it draws in of stkd's others."""
    drawn = [re.match(r"stkd\[(.*)\]", requirement) for requirement in EXTRAS[extra]]
    return {extra}.union(*(extras_of(name) for match in drawn if match for name in match[1].split(",")))


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_constraints_name_every_requirement(extra: str) -> None:
    pinned = {normal(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    requirements = [*EXTRAS[extra]] if extra else [*PROJECT["dependencies"]]
    names = [re.match(r"[\w.-]+", requirement) for requirement in requirements]
    assert {normal(name[0]) for name in names if name} - {"stkd"} <= pinned


def test_continuous_integration_has_every_extra() -> None:
    assert extras_of("ci") == set(EXTRAS)
