"""Fixtures of the tests that go through a whole run: digits, the smallest networks, one thread."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from stkd.cli.main import main
from stkd.core.registry import Registry
from stkd.data import sources
from stkd.methods import methods
from stkd.models import models

# Sums depend on the number of threads in their last digits, so every process of the tests has the same.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# A busy machine is no failure; continuous integration tries the same examples each time, developers new ones.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

PLAIN = ("--precision", "32", "--accelerator", "cpu")
"""Options that make a run the same on every machine."""


@dataclass(frozen=True)
class Outcome:
    """What a command answered.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error, but for the line of each epoch.
        epochs: The lines of epochs.
    """

    code: int
    out: str
    err: str
    epochs: list[str]


EPOCH = re.compile(r"stkd: note: .*, epoch \d+/\d+: .*loss ")
"""How the line of an epoch begins."""


Stkd = Callable[..., Outcome]


INCOMPLETE = re.compile(r"not installed|could not import|needs|no chromium", re.IGNORECASE)
"""Reasons of skips that say that something could have been installed."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Continuous integration installs all that tests need: there a skip names a platform, never a missing package."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if "CI" in os.environ and reporter is not None:
        reasons = {str(report.longrepr) for report in reporter.stats.get("skipped", [])}
        missing = sorted(reason for reason in reasons if INCOMPLETE.search(reason))
        if missing:
            reporter.write_line("\nskipped although CI is set: " + "; ".join(missing), red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decoded images go to a folder of this session, not to the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STKD_CACHE", str(folder))
        yield folder


@pytest.fixture
def preflight() -> None:
    """Trainings of this test are checked first."""


@pytest.fixture(autouse=True)
def _no_preflight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests have untrained teachers and small sets, which a preflight refuses; only those about it look first."""
    if "preflight" not in request.fixturenames and request.path.parent.name not in ("preflight", "reports"):
        for module in ("trainer", "cache_writer"):
            monkeypatch.setattr(f"stkd.training.{module}.check_session", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def _messages_reach_the_test() -> None:
    """Whatever an earlier test left of the logger, as one that stops a command in the middle can."""
    logging.disable(logging.NOTSET)
    logger = logging.getLogger("stkd")
    logger.propagate, logger.disabled = True, False
    logger.setLevel(logging.NOTSET)
    for handler in list(logger.handlers):
        if not isinstance(handler, logging.NullHandler):
            logger.removeHandler(handler)


@pytest.fixture
def stkd(capsys: pytest.CaptureFixture[str]) -> Stkd:
    """The command line in this process: `stkd("train", "--data", "digits", ...)`."""

    def call(*argv: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        lines = err.splitlines(keepends=True)
        epochs = [line for line in lines if EPOCH.match(line)]
        return Outcome(code, out, "".join(line for line in lines if line not in epochs), epochs)

    return call


@pytest.fixture(scope="session")
def _teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    command = ["train", "--data", "digits", "--model", "cnn4", "--epochs", "3", "--out", str(out), *PLAIN]
    assert main(command) == 0
    return out


@pytest.fixture(scope="session")
def _student_run(tmp_path_factory: pytest.TempPathFactory, _teacher_run: Path) -> Path:
    out = tmp_path_factory.mktemp("student") / "run"
    command = ["distill", "--data", "digits", "--teacher-weights", str(_teacher_run), "--student", "cnn2"]
    assert main([*command, "--epochs", "2", "--val-fraction", "0.2", "--out", str(out), *PLAIN]) == 0
    return out


@pytest.fixture
def teacher_run(_teacher_run: Path, tmp_path: Path) -> Path:
    """A finished `stkd train` of cnn4 on digits, 3 epochs; a copy, so that a test may damage it."""
    return Path(shutil.copytree(_teacher_run, tmp_path / "teacher_run"))


@pytest.fixture
def student_run(_student_run: Path, tmp_path: Path) -> Path:
    """A finished `stkd distill` of cnn2 on digits with a validation split, 2 epochs; a copy."""
    return Path(shutil.copytree(_student_run, tmp_path / "student_run"))


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Forgets all plug-ins, as a new process would; what a test registers is gone after it."""
    registries: tuple[Registry[Any], ...] = (methods, models, sources)
    known = [{entry.name: entry for entry in registry.entries()} for registry in registries]

    def back() -> None:
        for registry, entries in zip(registries, known, strict=True):
            registry._entries = dict(entries)
        for name in [name for name in sys.modules if name.startswith("stkd_plugin_")]:
            del sys.modules[name]

    yield back
    back()


@pytest.fixture
def gradio() -> Iterator[None]:
    """Gradio, or the test is skipped. It closes neither its event loops nor the socket of a port that is taken; they go
    with the test, so that Python does not complain about them in the middle of another one.
    """
    pytest.importorskip("gradio", reason="Gradio is not installed (stkd[explore])")
    yield
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


Flipped = Callable[[Path, int], AbstractContextManager[None]]


@pytest.fixture
def flipped() -> Flipped:
    """While `flipped(file, seed)` lasts, one bit of a file is another one, at a place that the seed chooses."""

    @contextmanager
    def flip(file: Path, seed: int) -> Iterator[None]:
        whole = file.read_bytes()
        place = random.Random(seed).randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        yield
        file.write_bytes(whole)

    return flip


@pytest.fixture
def killed_at_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """A context in which the process is killed at the n-th rename, the first one being 0."""

    @contextmanager
    def killed(write: int) -> Iterator[None]:
        left, real = write, {name: getattr(os, name) for name in ("replace", "rename")}

        def dying(name: str) -> Any:
            def renamed(source: Any, target: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                real[name](source, target)

            return renamed

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(f"os.{name}", dying(name))
            yield

    return killed


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder data set: classes "cat" and "dog", 10 images each of 8 x 8 pixels, no splits."""
    rng = np.random.default_rng(0)
    for position, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 128, (8, 8, 3), dtype=np.uint8) + np.uint8(120 * position)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"
