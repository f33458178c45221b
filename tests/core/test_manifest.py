"""A file and its digest: whatever happens to the one is seen by the other, whenever a process is killed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stkd.core import manifest
from stkd.core.errors import StkdError
from stkd.core.manifest import Damaged


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_written", {})


def content_of(path: Path) -> bytes | None:
    try:
        return manifest.read(path)
    except FileNotFoundError:
        return None


def test_a_flipped_bit_is_found(tmp_path: Path, flipped: Any) -> None:
    file = tmp_path / "file"
    manifest.write(file, b"0123456789" * 50)
    for seed in range(200):
        with flipped(file, seed):
            with pytest.raises(Damaged, match=r"file is damaged or was changed, .*; put back a copy of it, or delete"):
                manifest.read(file)
            with pytest.raises(Damaged):
                manifest.check(file)
        assert manifest.read(file) == b"0123456789" * 50


def test_a_flipped_bit_of_the_manifest_is_found(tmp_path: Path, flipped: Any) -> None:
    for name in ("a", "b"):
        manifest.write(tmp_path / name, name)
    for seed in range(200):
        with flipped(tmp_path / "manifest.json", seed), pytest.raises(StkdError, match=r"manifest\.json is damaged"):
            manifest.read(tmp_path / "a")
    assert manifest.read(tmp_path / "a") == b"a"


@pytest.mark.parametrize("text", ["", "{", "\xff", "[1", '{"stkd": 1, "files": {}}', '{"stkd": 1, "digest": "x"}'])
def test_a_cut_manifest_is_found(text: str, tmp_path: Path) -> None:
    manifest.write(tmp_path / "a", "a")
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(StkdError, match=r"manifest\.json is damaged"):
        manifest.read(tmp_path / "a")


@pytest.mark.parametrize("text", ["[1]", "{}", '"a"', "null", '{"name": "an app", "icons": []}', '{"files": [1]}'])
def test_a_manifest_of_others_is_let_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    (tmp_path / "a").write_text("a")
    assert manifest.read(tmp_path / "a") == b"a"
    assert manifest.states(tmp_path) is None


def test_files_that_are_not_named_are_not_checked(tmp_path: Path) -> None:
    (tmp_path / "of an earlier version").write_text("1")
    manifest.write(tmp_path / "a", "a")
    assert manifest.read(tmp_path / "of an earlier version") == b"1"
    assert manifest.states(tmp_path) == {"a": "right"}


def test_killed_at_any_write_the_old_or_the_new_is_there_and_right(tmp_path: Path, killed_at_write: Any) -> None:
    """Also where it is killed again and again at the same place."""
    file = tmp_path / "file"
    for kill in (0, 1):
        manifest.write(file, before := f"before {kill}".encode())
        for attempt in range(4):
            manifest._written.clear()
            with killed_at_write(kill), pytest.raises(KeyboardInterrupt):
                manifest.write(file, f"new {kill} {attempt}")
            assert content_of(file) == before
            assert manifest.states(tmp_path) == {"file": "right"}
        manifest.write(file, b"done")
        assert content_of(file) == b"done"


def test_killed_before_a_first_write_nothing_is_missing(tmp_path: Path, killed_at_write: Any) -> None:
    with killed_at_write(1), pytest.raises(KeyboardInterrupt):
        manifest.write(tmp_path / "file", "x")
    assert manifest.states(tmp_path) == {}
    assert content_of(tmp_path / "file") is None
    assert manifest.unused(tmp_path)
    manifest.write(tmp_path / "file", "x")
    manifest.write(tmp_path / "other", "x")
    (tmp_path / "file").unlink()
    assert manifest.states(tmp_path) == {"file": "missing", "other": "right"}
    assert not manifest.unused(tmp_path)


def test_a_damaged_file_that_is_about_to_be_replaced_stays_damaged(tmp_path: Path, killed_at_write: Any) -> None:
    file = tmp_path / "file"
    manifest.write(file, "right")
    file.write_text("wrong")
    manifest._written.clear()
    with killed_at_write(1), pytest.raises(KeyboardInterrupt):
        manifest.write(file, "new")
    with pytest.raises(Damaged):
        manifest.read(file)


def test_a_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.write(tmp_path / "a", "1")
    manifest.link(tmp_path / "a", tmp_path / "b")
    manifest.link(tmp_path / "a", tmp_path / "b")  # of one and the same file

    def no_links(*_: Any) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("os.link", no_links)
        manifest.link(tmp_path / "a", tmp_path / "c")
    manifest.write(tmp_path / "a", "2")
    assert [manifest.read(tmp_path / name) for name in "abc"] == [b"2", b"1", b"1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "manifest.json"]


def test_a_file_that_is_deleted(tmp_path: Path) -> None:
    manifest.write(tmp_path / "a", "1")
    manifest.announce(tmp_path, {"a": None})
    assert manifest.states(tmp_path) == {"a": "right"}
    (tmp_path / "a").unlink()
    assert manifest.states(tmp_path) == {}
    manifest.write(tmp_path / "b", "1")
    assert list(json.loads((tmp_path / "manifest.json").read_text())["files"]) == ["b"]


def test_a_failed_write_leaves_what_stood_there(tmp_path: Path) -> None:
    manifest.write(tmp_path / "a", "1")
    with suppress(OSError), manifest.writing(tmp_path / "a") as file:
        file.write(b"half")
        raise OSError
    assert manifest.read(tmp_path / "a") == b"1"


def test_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "a.js").write_text("1")
    manifest.announce(tmp_path, {"page/a.js": manifest.digest_file(tmp_path / "page" / "a.js")})
    manifest.check(tmp_path / "page" / "a.js", tmp_path)
    (tmp_path / "page" / "a.js").write_text("2")
    with pytest.raises(Damaged):
        manifest.check(tmp_path / "page" / "a.js", tmp_path)
