from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stkd.core.records import read_record, write_record

RECORD = {"a": [1, 2.5e-30, None], "10": "é", "2": {"nested": [True]}, "zeros": "0" * 32}


def test_round_trip(tmp_path: Path) -> None:
    for indent in (1, None):
        write_record(tmp_path / "a.json", RECORD, indent=indent)
        assert read_record(tmp_path / "a.json", needed=True) == RECORD


def test_a_flipped_bit_is_found(tmp_path: Path, flipped: Any) -> None:
    file = tmp_path / "a.json"
    write_record(file, RECORD)
    for seed in range(200):
        with flipped(file, seed), pytest.raises(ValueError, match=r"."):
            read_record(file, needed=True)


@pytest.mark.parametrize("text", ["", "[1]", '"a"', "3", "null", "{", "[" * 100_000, '{"a": 1, "digest": "x"}'])
def test_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_record(tmp_path / "a.json")


def test_of_an_earlier_version(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_record(tmp_path / "a.json") == {"a": 1}
    with pytest.raises(ValueError, match=r"."):
        read_record(tmp_path / "a.json", needed=True)
