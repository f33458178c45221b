"""The pages on methods name every method, its paper's year, and the defaults that the code has."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stkd.methods import methods

PAGES = sorted((Path(__file__).parents[2] / "docs" / "methods").glob("*.md"))
SECTIONS = {
    match[1]: match[2]
    for page in PAGES
    for match in re.finditer(r"^## `([\w-]+)`: .*?\n(.*?)(?=^## |\Z)", page.read_text(encoding="utf-8"), re.M | re.S)
}
ENTRIES = {entry.name: entry for entry in methods.entries()}


def value(text: str) -> Any:
    """`4`, `20/240`, `true`, `none` or a word."""
    words = {"true": True, "false": False, "none": None}
    if text in words:
        return words[text]
    return text if text.isidentifier() else float(Fraction(text))


@pytest.mark.parametrize("name", ENTRIES)
def test_method_is_described(name: str) -> None:
    entry = ENTRIES[name]
    section = SECTIONS[name]
    if year := re.search(r"\d{4}$", entry.paper):
        assert year[0] in section
    said = section.partition("Defaults: ")[2].partition(".\n")[0]
    defaults = {option: value(text) for option, text in re.findall(r"`(\w+)=([^`]+)`", said)}
    fields = {field.name: field.default for field in dataclasses.fields(entry.value)}
    assert {option: defaults.get(option, "not said") for option in fields} == pytest.approx(fields)


def test_nothing_else_is_described() -> None:
    assert set(SECTIONS) == set(ENTRIES)
