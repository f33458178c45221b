"""A disk that fails in the middle of a command: one line, and once it works the same command goes on to the same end.

Where a process is killed instead is tried in tests/runs.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHORT = ["--epochs", "2", "--train-images", "64", "--precision", "32", "--accelerator", "cpu"]
ERRORS = (errno.EIO, errno.ESTALE, errno.EDQUOT, errno.EROFS)
FOLDERS = (".end",)  # what is written whole, and put in place by the same command


def left_in(run: Path) -> list[str]:
    """What an unfinished write has left."""
    return [p.name for p in run.rglob("*") if p.name.startswith(".") and p.name not in (".lock", *FOLDERS)]


def kept(run: Path) -> dict[str, bytes]:
    """Weights, and shards of a cache."""
    return {path.name: path.read_bytes() for ending in ("safetensors", "npy") for path in run.glob(f"*.{ending}")}


def assert_one_line(answer: Any) -> None:
    assert answer.code == 2
    *notes, error = answer.err.splitlines()
    assert error.startswith("stkd: error: ")
    assert all(note.startswith("stkd: note: ") for note in notes)


def words_of(command: str, teacher: Path) -> list[str]:
    return {
        "train": ["train", "--data", "digits", "--model", "cnn2", "--val-fraction", "0.2"],
        "distill": ["distill", "--data", "digits", "--student", "cnn2", "--teacher-weights", str(teacher)],
        "cache": ["cache", "--data", "digits", "--teacher-weights", str(teacher)],
    }[command] + SHORT


def fail_everywhere(
    words: list[str], folder: Path, stkd: Any, failing_disk: Any, places: Callable[[int], set[int]]
) -> None:
    """Fail a command at some places of each operation, and give it again."""
    with failing_disk(folder / "whole") as disk:
        assert stkd(*words, "--out", folder / "whole").code == 0
    whole, tried = kept(folder / "whole"), 0
    assert whole
    for operation in ("open", "write", "fsync", "replace"):
        assert disk.done[operation] > 2
        for number in places(disk.done[operation]):
            run, error = folder / f"{operation}-{number}", ERRORS[tried % len(ERRORS)]
            with failing_disk(run, operation, number, error):
                answer = stkd(*words, "--out", run)
            assert_one_line(answer)
            assert str(run) in answer.err
            assert left_in(run) == []
            again = stkd(*words, "--out", run)
            assert again.code == 0, again.err
            assert kept(run) == whole
            assert left_in(run) == []
            tried += 1


def test_in_the_middle_of_a_training(teacher_run: Path, tmp_path: Path, stkd: Any, failing_disk: Any) -> None:
    fail_everywhere(words_of("train", teacher_run), tmp_path, stkd, failing_disk, lambda times: {times // 2})


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "distill", "cache"])
def test_at_the_first_and_the_last_writes(
    command: str, teacher_run: Path, tmp_path: Path, stkd: Any, failing_disk: Any
) -> None:
    words = words_of(command, teacher_run)
    fail_everywhere(words, tmp_path, stkd, failing_disk, lambda times: {0, times - 1})


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "manifest.json", "metrics.jsonl"])
def test_what_cannot_be_read_is_not_called_damaged(
    name: str, teacher_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else people delete what they have."""
    read, file = Path.open, teacher_run / name

    def stale(self: Path, *args: Any, **options: Any) -> Any:
        if self == file:
            raise OSError(errno.ESTALE, "Stale file handle", str(self))
        return read(self, *args, **options)

    def stale_open(path: Any, *args: Any, **options: Any) -> Any:
        return stale(Path(path), *args, **options) if path == file else opened(path, *args, **options)

    opened = open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", stale)
        patch.setattr("builtins.open", stale_open)
        answer = stkd("report", teacher_run)
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("stkd: error: ")
    assert "Stale file handle" in answer.err
    assert "damaged" not in answer.err
    assert "delete" not in answer.err


@pytest.mark.slow
def test_an_evaluation_on_a_disk_that_cannot_be_written_is_shown(
    teacher_run: Path, stkd: Any, failing_disk: Any
) -> None:
    for error in ERRORS:
        with failing_disk(teacher_run, "open", 0, error):
            answer = stkd("evaluate", teacher_run)
        assert answer.code == 0
        assert answer.err.startswith("stkd: warning: the evaluation is not kept for the run's page: ")
        assert answer.err.count("\n") == 1
        assert left_in(teacher_run) == []


@pytest.mark.slow
def test_an_export(teacher_run: Path, stkd: Any, failing_disk: Any) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (stkd[onnx])")
    words = ["export", teacher_run, "--to", "onnx"]
    for operation, number in (("write", 1), ("replace", 1)):
        with failing_disk(teacher_run / "exports", operation, number, errno.EIO):
            answer = stkd(*words)
        assert_one_line(answer)
        assert left_in(teacher_run) == []
    assert stkd(*words).code == 0
    assert stkd("verify", teacher_run).code == 0
