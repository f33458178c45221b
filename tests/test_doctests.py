"""The examples in the docstrings of losses and mixing."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from stkd import losses

SOURCE = Path(__file__).parents[1] / "src" / "stkd"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = ["mixing", *(f"losses.{file.stem}" for file in sorted((SOURCE / "losses").glob("[!_]*.py")))]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"stkd.{module}"), optionflags=FLAGS).failed == 0


def test_every_loss_has_an_example() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert any(test.examples for test in finder.find(importlib.import_module("stkd.mixing")))
    without = [name for name in losses.__all__ if not any(test.examples for test in finder.find(getattr(losses, name)))]
    assert without == []
