"""docs/architecture.md is what the source is: its rooms, and the way of one call through them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "stkd"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CALLS = [(SOURCE / file, name) for file, name in re.findall(r"^\d+\. `([\w/.]+):([\w.]+)`", PAGE, re.MULTILINE)]


def test_rooms_are_those_of_the_source() -> None:
    listed = re.findall(r"^      ([\w.]+?)/? {2,}", PAGE, re.MULTILINE)
    rooms = {file.name for file in SOURCE.iterdir() if not file.name.startswith("__") and file.name != "py.typed"}
    assert sorted(listed) == sorted(rooms)


def test_rooms_are_listed_as_imports_go() -> None:
    contract = re.search(r"^layers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert contract is not None
    layers = [name for name in re.findall(r'"([\w()]+)"', contract[1]) if name.isalpha()]
    assert re.findall(r"^      (\w+)(?:\.py|/) {2,}", PAGE, re.MULTILINE) == layers


@pytest.mark.usefixtures("preflight")
def test_a_run_takes_the_way_that_is_described(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    assert 8 <= len(CALLS) <= 12
    seen: list[tuple[Path, str]] = []

    def notice(frame: FrameType, event: str, _: object) -> None:
        call = (Path(frame.f_code.co_filename), frame.f_code.co_qualname)
        if event == "call" and call in CALLS and call not in seen:
            seen.append(call)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        done = stkd("distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--epochs", 1,
                    "--out", tmp_path / "run", "--accelerator", "cpu", "--precision", "32")  # fmt: skip
    finally:
        sys.setprofile(before)
    assert done.code == 0, done.err
    assert seen == CALLS


@pytest.mark.parametrize("room", sorted(file.parent.name for file in SOURCE.glob("*/__init__.py")))
def test_a_room_says_what_it_is_for(room: str) -> None:
    assert re.match(r'"""[A-Z].{40,}', (SOURCE / room / "__init__.py").read_text())
