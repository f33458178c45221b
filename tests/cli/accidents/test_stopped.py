"""Signals while something is loaded, cached, evaluated, exported or served: one line, 128 + N."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stkd.core.signals import STOPPING
from stkd.data import open_data, sources
from stkd.teachers.cache import shard_file

STOPPED = "stkd: stopped; run the same command again to go on\n"
CACHE = ["--train-images", "64", "--precision", "32", "--accelerator", "cpu", "--epochs", "3"]

pytestmark = pytest.mark.skipif(len(STOPPING) < 5, reason="Windows has two of these signals")


@pytest.fixture(params=STOPPING, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> signal.Signals:
    return signal.Signals(request.param)


def raising(number: int, real: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
    """A function during whose n-th call a signal comes."""
    calls = iter(range(at + 1000))

    def called(*args: Any, **options: Any) -> Any:
        if next(calls) == at:
            signal.raise_signal(number)
        return real(*args, **options)

    return called


def test_while_data_are_loaded(
    number: signal.Signals, tmp_path: Path, console_: Any, forget: Callable[[], None]
) -> None:
    @sources.register("numerals", "digits under another name")
    def numerals(path: Any, request: Any) -> Any:
        signal.raise_signal(number)
        return replace(open_data("digits"), name="numerals")

    words = ["train", "--data", "numerals", "--model", "cnn2", "--out", tmp_path / "run"]
    assert console_(*words) == (128 + number, "", STOPPED)


def test_while_a_teacher_is_cached(
    number: signal.Signals, teacher_run: Path, tmp_path: Path, console_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["cache", "--data", "digits", "--teacher-weights", teacher_run, *CACHE, "--out", tmp_path / "cache"]
    with monkeypatch.context() as patch:
        from stkd.training import cache_writer

        patch.setattr(cache_writer, "pack", raising(number, cache_writer.pack, at=1))  # a step an epoch
        code, out, err = console_(*words)
    assert (code, out) == (128 + number, "")
    assert err.splitlines(keepends=True)[-1] == STOPPED
    assert [shard_file(tmp_path / "cache", epoch).exists() for epoch in range(3)] == [True, False, False]
    assert not list((tmp_path / "cache").glob(".*.part"))
    first = shard_file(tmp_path / "cache", 0).stat().st_mtime_ns
    code, _, err = console_(*words)
    assert code == 0
    assert "1 epochs are there already" in err
    assert shard_file(tmp_path / "cache", 0).stat().st_mtime_ns == first


def test_while_a_run_is_evaluated(
    number: signal.Signals, teacher_run: Path, console_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stkd.runs import evaluation

    monkeypatch.setattr(evaluation, "write_record", raising(number, evaluation.write_record))
    monkeypatch.setattr("stkd.evaluation.cost.latency", lambda *_, **__: 1.0)
    assert console_("evaluate", teacher_run) == (128 + number, "", STOPPED)
    assert not (teacher_run / "evaluation.json").exists()
    assert not list(teacher_run.glob(".*.part"))


@pytest.mark.slow
def test_while_a_run_is_exported(teacher_run: Path, console_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (stkd[onnx])")
    from stkd.export.formats.onnx import Onnx

    number = signal.SIGUSR1
    with monkeypatch.context() as patch:
        patch.setattr(Onnx, "_write", raising(number, Onnx._write))
        assert console_("export", teacher_run, "--to", "onnx") == (128 + number, "", STOPPED)
    assert not (teacher_run / "exports").exists()
    assert console_("export", teacher_run, "--to", "onnx")[0] == 0


@pytest.mark.slow
def test_while_a_model_is_served(number: signal.Signals, served: Path, console_: Any, monkeypatch: Any) -> None:
    from stkd.serve import http_server

    class Server(http_server._Server):
        async def main_loop(self) -> None:
            signal.raise_signal(number)
            assert self.should_exit, "requests that have begun are answered first"

    monkeypatch.setattr(http_server, "_Server", Server)
    code, out, err = console_("serve", served, "--port", "0")
    assert out.count("\n") == 1
    assert (code, err) == (128 + number, STOPPED)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file, and all that it takes to serve it."""
    for package in ("onnx", "onnxscript", "onnxruntime", "fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(package, reason=f"{package} is not installed (stkd[onnx,serve])")
    import stkd
    from stkd.export import export_run

    run = tmp_path_factory.mktemp("served") / "run"
    stkd.train("cnn2", "digits", out=run, epochs=1, train_images=64, precision="32", accelerator="cpu", preflight="off")
    return export_run(run, "onnx").file


def test_a_closed_pipe_is_no_error(console_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Any) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    kept = os.dup(1)
    try:
        monkeypatch.setattr("stkd.cli.main._dispatch", closed)
        monkeypatch.setattr("stkd.cli.main.sys.stdout", os.fdopen(os.dup(1), "w"))
        assert console_("list", "models")[0] == 0
    finally:
        os.dup2(kept, 1)
        os.close(kept)
