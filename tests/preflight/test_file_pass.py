"""What is kept of a pass over image files, and what a disk does to it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stkd.preflight.file_pass import pass_over


@pytest.fixture
def seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Path], Path]:
    """A folder, its image files by name, and where what is seen of them is kept."""
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos", {p.name: p for p in (tmp_path / "photos").iterdir()}, tmp_path / "kept" / "files.sqlite"


def test_what_was_seen_is_kept_and_a_damaged_record_made_anew(
    seen_before: Any, caplog: pytest.LogCaptureFixture
) -> None:
    root, files, kept = seen_before
    describe, looked = (lambda pixels: (1, 2)), []

    def noting(pixels: Any) -> tuple[int, int]:
        looked.append(pixels)
        return 1, 2

    assert pass_over(root, files, describe, None).described == dict.fromkeys(files, (1, 2))
    assert pass_over(root, files, noting, None).described == dict.fromkeys(files, (1, 2))
    assert looked == []
    kept.write_bytes(b"SQLite format 3\0" + b"\x10\0" * 4000)
    assert pass_over(root, files, describe, None).described == dict.fromkeys(files, (1, 2))
    assert caplog.messages == [f"{kept} is damaged; what was seen of the files is forgotten, and the next run keeps it"]
    pass_over(root, files, describe, None)
    assert pass_over(root, files, noting, None).described == dict.fromkeys(files, (1, 2))
    assert looked == []
    assert len(caplog.messages) == 1


def test_a_record_that_cannot_be_kept_is_said_once(
    seen_before: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, files, kept = seen_before
    kept.mkdir()
    assert pass_over(root, files, lambda pixels: (1, 2), None).described == dict.fromkeys(files, (1, 2))
    (said,) = caplog.messages
    assert said.startswith(f"what is seen of the files is not kept ({kept.parent}: ")


def test_what_a_failing_disk_hides_is_looked_at_again(seen_before: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, files, _ = seen_before
    first = next(iter(files))
    read = Path.read_bytes

    def stale(self: Path) -> bytes:
        if self.name == first:
            raise OSError(errno.ESTALE, "Stale file handle", str(self))
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", stale)
        seen = pass_over(root, files, lambda pixels: (1, 2), None)
    assert "cannot be read (Stale file handle); check the file" in seen.broken[first]
    assert not pass_over(root, files, lambda pixels: (1, 2), None).broken
