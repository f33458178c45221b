from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from stkd.core.files import atomic_file, remove_temporaries, write_atomic


@pytest.fixture(params=[0o077, 0o022, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_are_those_of_a_new_file(umask: int, tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "text")
    (tmp_path / "plain.txt").write_text("text")
    mode = stat.S_IMODE((tmp_path / "a.txt").stat().st_mode)
    assert mode == 0o666 & ~umask == stat.S_IMODE((tmp_path / "plain.txt").stat().st_mode)


def broken_off(path: Path, error: type[BaseException]) -> Path:
    """Write half of a file; returns the name that the half had."""
    with pytest.raises(error), atomic_file(path) as file:
        _half(file, error)
    return Path(file.name)


def _half(file: BinaryIO, error: type[BaseException]) -> None:
    file.write(b"half")
    raise error


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    broken_off(path, RuntimeError)
    assert list(tmp_path.iterdir()) == []
    write_atomic(path, b"old")
    broken_off(path, KeyboardInterrupt)
    assert path.read_bytes() == b"old"
    write_atomic(path, "neu ü")
    assert path.read_text(encoding="utf-8") == "neu ü"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    write_atomic(tmp_path / "kept.txt", "text")
    broken_off(tmp_path / "a.txt", RuntimeError).write_bytes(b"half")  # as after a kill
    remove_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_an_error_names_the_file_that_the_user_knows(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        write_atomic(tmp_path / "nowhere" / "a.txt", "text")
    assert missing.value.filename == str(tmp_path / "nowhere" / "a.txt")
    with pytest.raises(OSError, match="room") as full, atomic_file(tmp_path / "a.txt"):
        raise OSError(28, "no room")
    assert full.value.filename == str(tmp_path / "a.txt")


def test_the_next_file_of_a_name_removes_what_was_left_of_it(tmp_path: Path) -> None:
    broken_off(tmp_path / "a[1].txt", RuntimeError).write_bytes(b"half")
    other = broken_off(tmp_path / "b.txt", RuntimeError)
    other.write_bytes(b"half")
    write_atomic(tmp_path / "a[1].txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].txt", other.name}


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    """Two processes may write one file: the last one wins, and neither is disturbed."""
    path = tmp_path / "a.txt"
    with atomic_file(path) as file:
        file.write(b"first")
        write_atomic(path, "second")
        remove_temporaries(tmp_path)
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="there it is not needed")
def test_a_file_that_was_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock, taken = fcntl.flock, []

    def too_late(file: BinaryIO, how: int) -> None:
        if not taken:
            taken.append(Path(file.name))
            taken[0].unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    write_atomic(tmp_path / "a.txt", "text")
    assert taken
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("refusals", [0, 1, 2, 9])
def test_a_file_that_somebody_reads_is_replaced_a_little_later(
    refusals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a file that is open is not renamed over."""
    write_atomic(tmp_path / "a.txt", "old")
    left, replace = refusals, Path.replace

    def refusing(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left >= 0:
            raise PermissionError(13, "Access is denied", str(self))
        return replace(self, target)

    monkeypatch.setattr("stkd.core.files._PATIENCE", (0.0, 0.0))
    monkeypatch.setattr(Path, "replace", refusing)
    if refusals > 2:
        with pytest.raises(PermissionError):
            write_atomic(tmp_path / "a.txt", "new")
    else:
        write_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == ("old" if refusals > 2 else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
