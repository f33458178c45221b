"""Versions, hardware and source revision that a run is recorded with."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__

__all__ = ["environment", "git_revision"]

_PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "torchmetrics", "numpy", "safetensors")


def environment() -> dict[str, Any]:
    """Versions, hardware, source revision and command line, for the record of a run."""
    versions = {"stkd": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "git": git_revision(Path(__file__).resolve().parents[1]),
        "command": _command(),
    }


def _command() -> str:
    """The command line that started this process, in a form that can be given again."""
    program = Path(sys.argv[0])
    ours = program.stem == "stkd" or program.parts[-2:] == ("stkd", "__main__.py")
    script = program.name if program.is_absolute() else str(program)  # without the folders of one machine
    return shlex.join([*(["stkd"] if ours else ["python", script]), *sys.argv[1:]])


def _cpu_name() -> str:
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return str(able.get("cpu_name") or platform.processor() or platform.machine())


def git_revision(package: Path) -> str | None:
    """The revision of stkd's source, as `git describe --always --dirty` gives it.

    Args:
        package: Folder of the package.

    Returns:
        None where it does not run from its own checkout, such as from an installation inside a user's repository, and
        where git is not installed.
    """
    root = package.parents[1]
    project = root / "pyproject.toml"
    if package != root / "src" / "stkd" or not (root / ".git").exists() or not project.is_file():
        return None
    if tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("name") != "stkd":
        return None
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # set inside a git hook
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(describe, env=own, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
