from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.runs.environment import environment, git_revision


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/opt/bin/stkd", "train", "--out", "a b"], "stkd train --out 'a b'"),
        (["/opt/stkd/__main__.py", "list", "data"], "stkd list data"),
        (["benchmarks/step.py", "--result", "x.json"], "python benchmarks/step.py --result x.json"),
        (["/home/me/mine.py"], "python mine.py"),
    ],
)
def test_command_is_one_that_can_be_called_again(
    argv: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert environment()["command"] == command


def test_version_is_that_of_the_package_that_runs() -> None:
    assert environment()["versions"]["stkd"] == package.__version__


def test_a_run_without_git(tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    short = ["--epochs", "1", "--train-images", "64", "--accelerator", "cpu", "--compile", "none"]
    answer = stkd("train", "--data", "digits", "--model", "cnn2", *short, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    recorded = json.loads((tmp_path / "run" / "env.json").read_text())
    assert recorded["git"] is None
    assert recorded["versions"]["stkd"] == package.__version__


def repository(root: Path, package: str, project: str) -> Path:
    """A repository with one commit that holds a package folder; returns that folder."""
    folder = root / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (root / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        subprocess.run(["git", "-C", str(root), *identity, *words], check=True)
    return folder


git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@git
@pytest.mark.parametrize("place", [".venv/lib/python3.11/site-packages/stkd", "src/stkd"])
def test_revision_of_a_users_own_repository_is_not_ours(place: str, tmp_path: Path) -> None:
    assert git_revision(repository(tmp_path, place, "thesis")) is None


@git
def test_revision_of_our_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repository(tmp_path / "stkd", "src/stkd", "stkd")
    head = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert git_revision(folder) == head
    repository(tmp_path / "other", "src/thesis", "thesis")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))  # as inside a hook of another repository
    assert git_revision(folder) == head
    (folder / "__init__.py").write_text("changed")
    assert git_revision(folder) == f"{head}-dirty"
