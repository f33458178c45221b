"""The operations are compiled once a machine; whatever happens to the cache folder, they are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stkd.data.cache import cache_folder
from stkd.kernels import load_kernels

LOAD = """
import shutil, sys
import torch
from stkd.kernels import build

def compile(name, flags, folder):  # what a compiler would make
    print("compiled")
    torch.ops.load_library(shutil.copy(sys.argv[1], folder / f"{name}.so"))

build._compile = compile
build.load_kernels()
x = torch.ones(2, 16, 4, 4).to(memory_format=torch.channels_last)
one = torch.ones(16)
print(torch.ops.stkd.batch_norm_act(x, None, one, one, None, None, True, 0.1, 1e-5, True).mean().item())
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """What the compiler made in this session."""
    load_kernels()
    (found,) = (cache_folder() / "kernels").glob("*.so")
    return found


def compiles(cache: Path, library: Path) -> bool:
    """Whether another process, with this cache folder, compiles; it has the operations in any case."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(library)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "STKD_CACHE": str(cache)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    *said, result = done.stdout.split()
    assert result == "1.0"
    return said == ["compiled"]


def test_another_process_finds_them_compiled(library: Path) -> None:
    assert not compiles(cache_folder(), library)


def test_what_is_compiled_is_kept(library: Path, tmp_path: Path) -> None:
    assert compiles(tmp_path, library)
    assert not compiles(tmp_path, library)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [library.name]


def test_cache_folder_that_cannot_be_written(library: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert compiles(tmp_path / "file", library)


@pytest.mark.parametrize("content", [b"", b"not a library"])
def test_damaged_library_is_made_again(content: bytes, library: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "kernels" / library.name
    damaged.parent.mkdir()
    damaged.write_bytes(content)
    assert compiles(tmp_path, library)
    assert damaged.read_bytes() == library.read_bytes()
