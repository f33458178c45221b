from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stkd.core.errors import StkdError
from stkd.data import decoded_cache as module
from stkd.data import digest
from stkd.data.decoded_cache import cache_folder, cached
from stkd.data.digest import digest_files, digest_names, fingerprint

ARRAYS = {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), "names": np.array(["é", "b"])}


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return ARRAYS


def get(build: Builder, key: str = "key") -> dict[str, np.ndarray]:
    arrays = cached(key, tuple(ARRAYS), build)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    return dict(arrays)


def test_second_time_is_a_memory_map(cache: Path) -> None:
    build = Builder()
    get(build)
    assert isinstance(get(build)["images"], np.memmap)
    assert build.calls == 1
    assert sorted(p.name for p in cache.iterdir()) == ["key-images.npy", "key-names.npy"]
    get(build, "other")
    assert build.calls == 2


def test_maps_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        get(Builder())["images"][0] = 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:50],
        lambda raw: b"",
        lambda raw: b"garbage" * 100,
        lambda raw: b"PK\x03\x04" + raw,
        lambda raw: b"\x93NUMPY\x01\x00\xff\xff" + raw[10:],
    ],
)
@pytest.mark.parametrize("name", ["images", "names"])
def test_damaged_entries_are_built_again(cache: Path, damage, name: str) -> None:
    build = Builder()
    get(build)
    file = cache / f"key-{name}.npy"
    file.write_bytes(damage(file.read_bytes()))
    get(build)
    get(build)
    assert build.calls == 2


@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 200), marks=pytest.mark.slow)], ids=["some", "many"]
)
@pytest.mark.parametrize("name", ["images", "names"])
def test_a_flipped_bit_has_the_entry_built_again(
    cache: Path, seeds: range, name: str, flipped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    build = Builder()
    get(build)
    file = cache / f"key-{name}.npy"
    for calls, seed in enumerate(seeds, start=2):
        caplog.clear()
        with flipped(file, seed):
            get(build)
            assert build.calls == calls
            assert caplog.messages == [f"{file} is damaged or was written by an earlier version; it is made anew"]
    caplog.clear()
    get(build)
    assert (build.calls, caplog.messages) == (calls, [])


def test_entries_of_an_earlier_version_are_built_again(cache: Path) -> None:
    build = Builder()
    for name, array in ARRAYS.items():
        np.save(cache / f"key-{name}.npy", array)
    get(build)
    get(build)
    assert build.calls == 1


def test_a_large_entry_is_checked_in_pieces(cache: Path, monkeypatch: pytest.MonkeyPatch, flipped: Any) -> None:
    monkeypatch.setattr(module, "_PIECE", 7)
    build = Builder()
    get(build)
    get(build)
    assert build.calls == 1
    with flipped(cache / "key-images.npy", 0):
        get(build)
    assert build.calls == 2


def test_pickled_objects_in_the_cache_are_not_loaded(cache: Path) -> None:
    build = Builder()
    np.save(cache / "key-images.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    get(build)
    assert build.calls == 1


def test_missing_half_is_built_again(cache: Path) -> None:
    build = Builder()
    get(build)
    (cache / "key-names.npy").unlink()
    get(build)
    assert build.calls == 2


def test_unwritable_folder_falls_back_to_memory(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("STKD_CACHE", str(cache / "file" / "below"))
    get(Builder())
    assert "set STKD_CACHE" in caplog.text


def test_full_disk_falls_back_and_leaves_nothing_behind(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.np, "save", full)
    get(Builder())
    assert "No space left" in caplog.text
    assert not list(cache.iterdir())


def test_interruption_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.np, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(Builder())
    assert not list(cache.iterdir())


def test_several_processes_at_once(cache: Path) -> None:
    script = """
import sys, numpy as np
from stkd.data.decoded_cache import cached
for key in range(30):
    a = cached(str(key), ("x",), lambda: {"x": np.full(5000, key)})["x"]
    assert (a == key).all() and a.shape == (5000,)
"""
    processes = [subprocess.Popen([sys.executable, "-W", "error::UserWarning", "-c", script]) for _ in range(3)]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert len(list(cache.iterdir())) == 30


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STKD_CACHE", "~/own")
    assert cache_folder() == Path.home() / "own"
    monkeypatch.delenv("STKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert cache_folder() == Path("/var/xdg/stkd")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "stkd"


def test_digest_sees_names_contents_and_order(tmp_path: Path) -> None:
    for name, content in {"a": b"1", "b": b"2", "c": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    digests = [digest_files(tmp_path, names) for names in (["a", "b"], ["b", "a"], ["c", "b"], ["a"], [])]
    assert len(set(digests)) == 5
    assert digest_files(tmp_path, ["a", "b"]) == digests[0]
    (tmp_path / "a").write_bytes(b"9")
    assert digest_files(tmp_path, ["a", "b"]) != digests[0]


def test_digest_is_the_same_elsewhere(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(b"1")
    assert digest_files(tmp_path / "x", ["a"]) == digest_files(tmp_path / "y", ["a"])


def test_digest_is_remembered_only_for_settled_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    fresh = digest_files(tmp_path, ["a"])
    assert not list(cache_folder().glob("digests/*"))
    later = time.time() + 10
    monkeypatch.setattr(digest.time, "time", lambda: later)
    assert digest_files(tmp_path, ["a"]) == fresh
    (memo,) = cache_folder().glob("digests/*")
    monkeypatch.setattr(digest, "digest_file", lambda path: pytest.fail("read again"))
    assert digest_files(tmp_path, ["a"]) == fresh
    monkeypatch.undo()
    for text in ("rubbish", memo.read_text().replace("1", "3").replace("2", "1")):
        memo.write_text(text)
        assert digest_files(tmp_path, ["a"]) == fresh


def test_changed_file_of_the_same_size_is_seen_after_the_digest_was_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 10
    monkeypatch.setattr(digest.time, "time", lambda: later)
    (tmp_path / "a").write_bytes(b"1")
    before = digest_files(tmp_path, ["a"])
    time.sleep(0.02)
    (tmp_path / "a").write_bytes(b"2")
    assert digest_files(tmp_path, ["a"]) != before


def test_digest_of_names_sees_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = digest_names(tmp_path, ["a"])
    (tmp_path / "a").write_bytes(b"12")
    assert digest_names(tmp_path, ["a"]) != before


def test_unreadable_files(tmp_path: Path) -> None:
    for function in (digest_files, digest_names):
        with pytest.raises(StkdError, match="gone cannot be read"):
            function(tmp_path, ["gone"])


def test_unwritable_memo_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    expected = digest_files(tmp_path, ["file"])
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(digest, "SETTLED_S", -10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert digest_files(tmp_path, ["file"]) == expected


def test_fingerprint_parts_do_not_run_together() -> None:
    assert fingerprint("a", "b") != fingerprint("ab")
    assert fingerprint(a=1, b=2) == fingerprint(b=2, a=1)
    assert fingerprint(a=1) != fingerprint(a=2)
