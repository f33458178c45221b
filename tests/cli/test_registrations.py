"""What `stkd list` reads from the source is what the modules register."""

from __future__ import annotations

from pathlib import Path

import pytest

from stkd.cli import registrations as reading
from stkd.cli.catalogue import catalogue
from stkd.cli.registrations import registrations


@pytest.mark.parametrize("what", ["methods", "models", "data", "formats"])
def test_the_source_says_what_the_modules_register(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = catalogue(what)
    monkeypatch.setattr("stkd.cli.catalogue.registrations", lambda *_: None)
    imported = catalogue(what)
    assert sorted(read, key=str) == sorted(imported, key=str)


def test_what_is_not_plain_is_left_to_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "room_of_tests"
    room.mkdir()
    (room / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    (room / "a.py").write_text("@things.register('a', 'one thing')\nclass A:\n    x: float = 1 / 2\n")
    (found,) = registrations("room_of_tests", "none") or []
    assert (found.name, found.summary, found.paper, found.options) == ("a", "one thing", "", {"x": 0.5})
    (room / "b.py").write_text("@things.register(NAME, 'named elsewhere')\nclass B: ...\n")
    assert registrations("room_of_tests", "none") is None


def test_an_installed_package_that_adds_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "entry_points", lambda group: [object()])
    assert registrations("stkd.methods", "stkd.methods") is None
