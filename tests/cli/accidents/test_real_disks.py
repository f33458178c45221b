"""A small disk that is full, and one that can only be read, in a mount namespace: root may write anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

IN_NAMESPACE = """
import contextlib, io, json, subprocess, sys
from pathlib import Path

import torch

from stkd.cli.main import main

torch.set_num_threads(1)
disk, kept = map(Path, sys.argv[1:])
SHORT = ["--train-images", "64", "--precision", "32", "--accelerator", "cpu", "--preflight", "off"]


def mount(*words):
    subprocess.run(["mount", *words, str(disk)], check=True)


def stkd(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    lines = [line for line in err.getvalue().splitlines() if "stkd: note: " not in line]
    left = [p.name for p in disk.rglob("*") if p.name.startswith(".") and p.name != ".lock"]
    return {"code": code, "lines": lines, "left": left}


train = ["train", "--data", "digits", "--model", "cnn4", *SHORT, "--epochs"]
cache = ["cache", "--data", "digits", "--teacher-weights", kept / "run", *SHORT]
cache += ["--epochs", "3", "--out", disk / "cache"]
said = {"whole": stkd(*train, 2, "--out", kept / "run")}
mount("-t", "tmpfs", "-o", "size=24k", "tmpfs")
said["full: train"] = stkd(*train, 2, "--out", disk / "run")
said["full: cache"] = stkd(*cache)
mount("-o", "remount,size=8m")
said["room: train"] = stkd(*train, 2, "--out", disk / "run")
said["room: cache"] = stkd(*cache)
said["equal"] = (disk / "run" / "model.safetensors").read_bytes() == (kept / "run" / "model.safetensors").read_bytes()
files = {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()}
mount("-o", "remount,ro")
longer = {
    "train": [*train, 3, "--out", disk / "run"],
    "a new run": [*train, 1, "--out", disk / "new"],
    "cache": [*cache[:-3], "4", *cache[-2:]],
    "export": ["export", disk / "run", "--to", "torch-export"],
    "report": ["report", disk / "run"],
}
for name, words in longer.items():
    said[f"read-only: {name}"] = stkd(*words)
said["evaluate"] = stkd("evaluate", disk / "run")
said["untouched"] = files == {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()}
mount("-o", "remount,rw")
for name, words in longer.items():
    said[f"room: {name} again"] = stkd(*words)
print(json.dumps(said))
"""


def test_full_and_read_only(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    may_mount = unshare and subprocess.run(
        [unshare, "--mount", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if not may_mount or may_mount.returncode:
        pytest.skip("only root on Linux may mount a small disk")
    for name in ("disk", "kept"):
        (tmp_path / name).mkdir()
    command = [
        str(unshare),
        "--mount",
        sys.executable,
        "-c",
        IN_NAMESPACE,
        str(tmp_path / "disk"),
        str(tmp_path / "kept"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("equal")
    assert said.pop("untouched")
    for name, answer in said.items():
        assert answer["left"] == [], (name, answer)
        refused = name.startswith(("full", "read-only"))
        assert answer["code"] == (2 if refused else 0), (name, answer)
        lines = answer["lines"]
        if refused:
            assert lines[-1].startswith("stkd: error: "), (name, lines)
            assert sum("error" in line for line in lines) == 1
            words = "disk is full" if name.startswith("full") else "Read-only file system"
            assert words in lines[-1] or "the cache needs" in lines[-1], (name, lines)
    assert "the evaluation is not kept" in said["evaluate"]["lines"][0]
    assert list((tmp_path / "disk").iterdir()) == []  # the mount was the namespace's alone
